//! The small languages inside arguments: durations, `kind/id`, conditions, label queries, selectors.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_proto::admin::v1::Selector;

/// Longest duration an argument may name: ten years, beyond which a typing error is likelier than a wish.
const DURATION_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// Parses durations as kubectl and kubeadm write them: `30s`, `5m`, `1h30m`, `7d`, `500ms`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a duration is like 30s, 5m, 1h30m or 7d".to_owned();
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u32 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            "d" => Duration::from_secs(24 * 3600),
            _ => return Err(wrong()),
        };
        sum = unit.checked_mul(number).and_then(|part| sum.checked_add(part)).ok_or_else(wrong)?;
        rest = &rest[letters..];
    }
    match sum {
        Duration::ZERO => Err(wrong()),
        sum if sum > DURATION_MAX => Err("longer than ten years".to_owned()),
        sum => Ok(sum),
    }
}

/// Parses a server's id: `3`, or `server/3` as lists print it.
pub(super) fn server(text: &str) -> Result<u64, String> {
    let id = text.strip_prefix("server/").unwrap_or(text).parse().ok().filter(|id| *id != 0);
    id.ok_or_else(|| "a server's id is a number, as `muster server list` shows it".to_owned())
}

/// What a command is about: `node/ID` or `cluster/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A node, by id, unique prefix of it, or name.
    Node(String),
    /// A cluster, by name or id.
    Cluster(String),
}

impl Subject {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (kind, id) = text.split_once('/').ok_or("write node/ID or cluster/NAME")?;
        Self::of(kind, id)
    }

    /// From a kind and an id, the kind in singular or plural.
    pub fn of(kind: &str, id: &str) -> Result<Self, String> {
        if id.is_empty() {
            return Err(format!("{kind} needs an id: write node/ID or cluster/NAME"));
        }
        match kind {
            "node" | "nodes" => Ok(Subject::Node(id.to_owned())),
            "cluster" | "clusters" => Ok(Subject::Cluster(id.to_owned())),
            _ => Err(format!("{kind:?} is neither node nor cluster")),
        }
    }
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// A node is in this phase.
    Phase(String),
    /// At least so many nodes of a cluster are Ready.
    Ready {
        /// Control planes; `None`: any number.
        control_planes: Option<u32>,
        /// Workers; `None`: any number.
        workers: Option<u32>,
    },
}

impl Condition {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "a condition is phase=Ready (node), or control-planes=3,workers=40 (cluster)".to_owned();
        let mut terms = BTreeMap::new();
        for term in text.split(',') {
            let (key, value) = term.split_once('=').ok_or_else(wrong)?;
            if value.is_empty() || terms.insert(key.trim(), value.trim()).is_some() {
                return Err(wrong());
            }
        }
        match terms.remove("phase") {
            Some(phase) if terms.is_empty() => return Ok(Condition::Phase(phase.to_owned())),
            Some(_) => return Err(wrong()),
            None => {}
        }
        let mut number = |key| terms.remove(key).map(|value: &str| value.parse().map_err(|_| wrong())).transpose();
        let (control_planes, workers) = (number("control-planes")?, number("workers")?);
        if !terms.is_empty() || (control_planes.is_none() && workers.is_none()) {
            return Err(wrong());
        }
        Ok(Condition::Ready { control_planes, workers })
    }
}

/// A label selector as kubectl writes it: `a=b,c!=d,e`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelQuery(Vec<LabelTerm>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum LabelTerm {
    Is(String, String),
    IsNot(String, String),
    Has(String),
}

impl LabelQuery {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        text.split(',').map(LabelTerm::parse).collect::<Result<_, _>>().map(Self)
    }

    /// Whether `labels` have all that is asked for.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|term| match term {
            LabelTerm::Is(key, value) => labels.get(key) == Some(value),
            LabelTerm::IsNot(key, value) => labels.get(key) != Some(value),
            LabelTerm::Has(key) => labels.contains_key(key),
        })
    }
}

impl LabelTerm {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let pair = |key: &str, value: &str| (key.trim().to_owned(), value.trim().to_owned());
        let term = if let Some((key, value)) = text.split_once("!=") {
            let (key, value) = pair(key, value);
            LabelTerm::IsNot(key, value)
        } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
            let (key, value) = pair(key, value);
            LabelTerm::Is(key, value)
        } else {
            LabelTerm::Has(text.to_owned())
        };
        let (LabelTerm::Is(key, _) | LabelTerm::IsNot(key, _) | LabelTerm::Has(key)) = &term;
        if key.is_empty() { Err("labels are like rack=r1,zone!=b,disk".to_owned()) } else { Ok(term) }
    }
}

/// Keys of a selector, in matchbox's words where it has them.
const SELECTOR_KEYS: &str = "uuid, mac, hostname, serial, asset, product, manufacturer, board-serial, label.NAME";

/// One `KEY=VALUE` that a machine must claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectorTerm {
    key: String,
    value: String,
}

impl SelectorTerm {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
        let term = Self { key: key.to_owned(), value: value.to_owned() };
        if value.is_empty() || !term.put(&mut Selector::default()) {
            return Err(format!("a selector is KEY=VALUE with one of the keys {SELECTOR_KEYS}"));
        }
        Ok(term)
    }

    /// The message for all terms together; `None` for no term.
    pub fn message(terms: &[Self]) -> Option<Selector> {
        let mut selector = Selector::default();
        for term in terms {
            term.put(&mut selector);
        }
        (!terms.is_empty()).then_some(selector)
    }

    /// Whether the key was known.
    fn put(&self, selector: &mut Selector) -> bool {
        let field = match self.key.as_str() {
            "uuid" => &mut selector.uuid,
            "serial" => &mut selector.serial,
            "hostname" => &mut selector.hostname,
            "asset" => &mut selector.asset,
            "product" => &mut selector.product,
            "manufacturer" => &mut selector.manufacturer,
            "board-serial" => &mut selector.board_serial,
            "mac" => {
                selector.macs.push(self.value.to_ascii_lowercase().replace('-', ":"));
                return true;
            }
            other => {
                let Some(label) = other.strip_prefix("label.").filter(|label| !label.is_empty()) else { return false };
                selector.labels.insert(label.to_owned(), self.value.clone());
                return true;
            }
        };
        field.clone_from(&self.value);
        true
    }
}
