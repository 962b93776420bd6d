//! `muster help`, which also knows the topic `exit-codes`.

use clap::CommandFactory as _;

use crate::cli::args::{Cli, HelpArgs};
use crate::cli::console::{Console, Table};
use crate::cli::exit::{Exit, Failure};

pub(super) fn run(args: &HelpArgs, console: &mut Console) -> Result<Exit, Failure> {
    if args.topic.len() == 1 && args.topic[0] == "exit-codes" {
        console.data(&exit_codes())?;
        return Ok(Exit::Done);
    }
    let mut command = Cli::command();
    command.build();
    for word in &args.topic {
        command = command.find_subcommand(word).cloned().ok_or_else(|| {
            Failure::new(Exit::Usage, format!("no help on {:?}", args.topic.join(" "))).with_next("muster help")
        })?;
    }
    console.data(&command.render_long_help().to_string())?;
    Ok(Exit::Done)
}

fn exit_codes() -> String {
    let mut table = Table::new(&["CODE", "MEANING"]);
    for exit in Exit::ALL {
        table.row([exit.code().to_string(), exit.meaning().to_owned()]);
    }
    table.render(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Format;
    use crate::cli::console::testing::mk_console;

    fn help(topic: &[&str]) -> Result<String, Failure> {
        let (mut console, written) = mk_console(Format::Table);
        let topic = topic.iter().map(|word| (*word).to_owned()).collect();
        run(&HelpArgs { topic }, &mut console).map(|_| written.out())
    }

    #[test]
    fn exit_codes_are_the_documented_ones() {
        assert_eq!(
            help(&["exit-codes"]).unwrap(),
            "CODE   MEANING\n\
             0      done, or healthy\n\
             1      failed\n\
             2      wrong usage\n\
             3      a check failed, or the input is invalid\n\
             4      not found, or in conflict with what is there\n\
             5      no leader, no quorum, or no server reached\n\
             6      the server is sealed\n\
             7      timed out waiting\n\
             8      not allowed\n"
        );
    }

    #[test]
    fn help_finds_nouns_and_their_verbs() {
        assert!(help(&[]).unwrap().contains("join-command"));
        assert!(help(&["node", "approve"]).unwrap().contains("--fingerprint"));
        assert_eq!(help(&["nonsense"]).unwrap_err().exit, Exit::Usage);
    }
}
