# lab.sh: what the scripts of this folder share; read by them, not run. The caller has set -euo pipefail, TOP and HERE, names its machines in
# NODES, and finds Muster's server in the machines' network at 192.0.2.1.
: "${K8S_LAB:?folder with bin, images and nodebase}" "${LAB_SCRIPTS:?folder with node.sh and cluster.sh}"
export K8S_LAB
BIN=${BIN:-$TOP/target/release} WORK=$(mktemp -d "/tmp/muster-$(basename "$0" .sh)-XXXXXX")
say() { echo; echo "== $(date +%T) $*"; }
node() { "$LAB_SCRIPTS/node.sh" "$@"; }
in_lab() { ip netns exec ksw env MUSTER_CONFIG="$WORK/operator/config.toml" "$@"; }
muster() { in_lab "$BIN/muster" "$@"; }
kubectl() { node exec n1 kubectl --kubeconfig /etc/kubernetes/admin.conf "$@"; }
cleanup() {
  set +e
  [ -n "${WATCHER:-}" ] && kill "$WATCHER"
  [ -n "${SERVER:-}" ] && kill "$SERVER"
  for n in "${NODES[@]}"; do [ -e "$K8S_LAB/nodes/$n/pid" ] && node down "$n" --purge; done
  node net-down x 2>/dev/null
} >/dev/null 2>&1
trap cleanup EXIT
serve() { # exec, so that the pid is the server's own
  [ -e "$WORK/server.toml" ] || printf '[server]\ndata_dir = "%s/data"\nlisten = "192.0.2.1"\nadvertise = "192.0.2.1"\n[seal]\npath = "%s/seal.key"\n' \
    "$WORK" "$WORK" >"$WORK/server.toml"
  ( exec ip netns exec ksw env MUSTER_CONFIG="$WORK/operator/config.toml" "$BIN/muster" serve --config "$WORK/server.toml" ) \
    >>"$WORK/server.log" 2>&1 &
  SERVER=$!
  for _ in $(seq 300); do
    ip netns exec ksw curl -sf http://192.0.2.1:9080/readyz >/dev/null && return 0; sleep 0.1
  done
  cat "$WORK/server.log"; return 1
}
apply() { # FILE NODE...: keeps the line that was printed for each of these nodes. $APPROVAL: another word for csrApproval
  local file=$WORK/cluster.yaml
  sed ${APPROVAL:+-e '/csrApproval:/d' -e "s/^    version:.*/&\n    csrApproval: $APPROVAL/"} -e '' "$1" >"$file"; shift
  muster cluster apply -f "$file" | tee "$WORK/apply.txt" | sed 's/mst-\([a-z0-9]*\)-[a-z0-9]*/mst-\1-…/'
  for n in "$@"; do
    awk -v n="$n" '$1=="#" && $2==n {getline; print}' "$WORK/apply.txt" >"$WORK/line-$n"
    grep -q muster-agent "$WORK/line-$n"
  done
  grep -o 'mst-[a-z0-9]*-[a-z0-9]*' "$WORK/apply.txt" >"$WORK/tokens.txt"
}
agent() { # NODE: runs the printed line of that node, as it was printed, by a POSIX shell
  node exec "$1" sh -s <<<"$(cat "$WORK/line-$1")" >>"$WORK/agent-$1.log" 2>&1 &
}
etcd_members() {
  node exec n1 etcdctl --endpoints https://127.0.0.1:2379 --cacert /etc/kubernetes/pki/etcd/ca.crt \
    --cert /etc/kubernetes/pki/etcd/healthcheck-client.crt --key /etc/kubernetes/pki/etcd/healthcheck-client.key member list -w table
}
scan() { # NODE...: ends the server, and looks for every secret of the run where none may be
  muster events -o json >"$WORK/events.json"; ip netns exec ksw curl -s http://192.0.2.1:9080/metrics >"$WORK/metrics.txt"
  for n in "$@"; do muster logs "node/$n" >"$WORK/logs-$n.txt"; muster describe node "$n" -o json >"$WORK/describe-$n.json"; done
  kill "$SERVER"; wait "$SERVER" 2>/dev/null || true; SERVER=''
  shopt -s nullglob
  "$BIN/secret_scan" "$WORK/data" "$WORK/seal.key" --also "$WORK/tokens.txt" "$WORK/data" "$WORK"/server.log "$WORK"/agent-n*.log \
    "$WORK"/logs-n*.txt "$WORK"/events.json "$WORK"/metrics.txt "$WORK"/describe-*.json "$WORK"/cmdlines.tx[t]
}
holds() { echo "$1: $([ "$2" = "$3" ] && echo yes || { echo "NO ($2)"; touch "$WORK/failed"; })"; }
approvals_hold() { # what must be so wherever Muster approves
  holds "Muster has approved all requests" "$(kubectl get csr -o jsonpath='{.items[*].status.conditions[*].reason}' | tr ' ' '\n' | sort -u)" MusterApproved
  holds "the cluster approves nothing by itself" "$(kubectl get clusterrolebindings -o name | grep -ci autoapprove)" 0
}
