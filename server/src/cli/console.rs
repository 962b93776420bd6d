//! Where words and data go: data to standard output, words to standard error, questions to whoever sits at a terminal.
//!
//! Whatever a machine or a server said passes [`plain`] on its way to a terminal: a claimed host name must not be able to
//! move the cursor over the fingerprint that an operator is about to compare.

mod age;
mod escape;
mod message;
mod secret;
mod table;

use std::io::{BufRead, BufReader, IsTerminal as _, Write};

use indicatif::ProgressBar;
use jiff::Timestamp;
use zeroize::Zeroizing;

pub(super) use age::{age, age_since, span, stamp};
pub(super) use escape::plain;
pub(super) use message::{Document, json_line, json_pretty, yaml};
pub(super) use table::{Paint, Table};

use crate::cli::args::{Format, Globals};
use crate::cli::environment::Environment;
use crate::cli::exit::{Exit, Failure};

/// How often a progress line moves.
const TICK: std::time::Duration = std::time::Duration::from_millis(120);

/// The two outputs and the input of a command, and how the operator wants to read.
pub(super) struct Console {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    input: Box<dyn BufRead>,
    /// Somebody can be asked: standard input is a terminal.
    pub(super) interactive: bool,
    /// Standard error is a terminal, so that progress can be drawn.
    pub(super) progress: bool,
    /// How data is written.
    pub(super) format: Format,
    colour: bool,
    quiet: bool,
    verbose: bool,
    clock: fn() -> Timestamp,
}

impl Console {
    /// That of this process.
    #[expect(
        clippy::disallowed_methods,
        reason = "a named clock: ages and deadlines are shown to people, nothing is decided by it"
    )]
    pub(super) fn of_process(globals: &Globals, environment: &Environment) -> Self {
        Self {
            out: Box::new(std::io::stdout()),
            err: Box::new(std::io::stderr()),
            // Not locked: what `serve` and `server join` read from it is read elsewhere in this process.
            input: Box::new(BufReader::new(std::io::stdin())),
            interactive: std::io::stdin().is_terminal(),
            progress: std::io::stderr().is_terminal() && !globals.quiet,
            format: globals.output,
            colour: !globals.no_color && !environment.no_colour && std::io::stdout().is_terminal(),
            quiet: globals.quiet,
            verbose: globals.verbose,
            clock: Timestamp::now,
        }
    }

    /// The present time, for ages and deadlines that people read.
    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Whether people read the answer, rather than a program.
    pub(super) fn for_people(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    /// Writes data as it is, and a line end after it if there is none.
    ///
    /// # Errors
    /// If standard output cannot be written. A reader that went away ends the command in silence.
    pub(super) fn data(&mut self, text: &str) -> Result<(), Failure> {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        let written = write!(self.out, "{text}{end}").and_then(|()| self.out.flush());
        written.map_err(|error| match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::new(Exit::Done, ""),
            _ => Failure::new(Exit::Failed, format!("cannot write to standard output: {error}")),
        })
    }

    /// Writes a message as JSON or YAML.
    ///
    /// # Errors
    /// As for [`Console::data`].
    pub(super) fn document<T: serde::Serialize>(&mut self, document: &Document<'_, T>) -> Result<(), Failure> {
        let text = if self.format == Format::Yaml { yaml(document)? } else { json_pretty(document)? };
        self.data(&text)
    }

    /// Writes a table.
    ///
    /// # Errors
    /// As for [`Console::data`].
    pub(super) fn table(&mut self, table: &Table) -> Result<(), Failure> {
        let text = table.render(self.colour);
        self.data(&text)
    }

    /// Writes rows to go below a header that is already there.
    ///
    /// # Errors
    /// As for [`Console::data`].
    pub(super) fn rows(&mut self, table: &Table) -> Result<(), Failure> {
        let text = table.render_rows(self.colour);
        self.data(&text)
    }

    /// Says something to people; silent with `--quiet`.
    pub(super) fn say(&mut self, words: &str) {
        if !self.quiet {
            self.warn(words);
        }
    }

    /// Says something that must be heard even with `--quiet`.
    pub(super) fn warn(&mut self, words: &str) {
        // If standard error is gone there is nobody to tell.
        let _ = writeln!(self.err, "{words}");
    }

    /// Says something only with `--verbose`.
    pub(super) fn detail(&mut self, words: &str) {
        if self.verbose {
            self.warn(words);
        }
    }

    /// A line that turns while something takes long; hidden where standard error is no terminal.
    pub(super) fn spinner(&self, words: &'static str) -> ProgressBar {
        let bar = self.progress_bar();
        bar.set_message(words);
        bar
    }

    /// As [`Console::spinner`], without words yet.
    pub(super) fn progress_bar(&self) -> ProgressBar {
        if !self.progress {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(TICK);
        bar
    }

    /// The last line of a command that changed something.
    pub(super) fn next(&mut self, action: &str) {
        if !action.is_empty() {
            self.say(&format!("Next: {action}"));
        }
    }

    /// Says why a command did not succeed.
    pub(super) fn failure(&mut self, failure: &Failure) {
        if failure.message.is_empty() {
            return;
        }
        self.warn(&format!("error: {}", failure.message));
        if let Some(next) = &failure.next {
            self.warn(&format!("Next: {next}"));
        }
    }

    /// Asks before something that cannot be undone; `yes` is the operator's answer given beforehand.
    ///
    /// # Errors
    /// If the answer is no, or nobody can be asked.
    pub(super) fn confirm(&mut self, question: &str, yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !self.interactive {
            return Err(Failure::new(
                Exit::Usage,
                format!("{question} Standard input is no terminal, so nobody can be asked"),
            )
            .with_next("repeat the command with --yes"));
        }
        let _ = write!(self.err, "{question} [y/N] ").and_then(|()| self.err.flush());
        let mut answer = String::new();
        self.input
            .read_line(&mut answer)
            .map_err(|error| Failure::new(Exit::Failed, format!("cannot read the answer: {error}")))?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::new(Exit::Failed, "not confirmed; nothing was changed")),
        }
    }

    /// Asks for a secret; what is typed is not shown.
    ///
    /// # Errors
    /// If nobody can be asked, or standard input cannot be read.
    pub(super) fn secret(&mut self, question: &str) -> Result<Zeroizing<String>, Failure> {
        if !self.interactive {
            return Err(Failure::new(
                Exit::Usage,
                "a passphrase is needed, and standard input is no terminal, so nobody can be asked",
            ));
        }
        secret::ask(question, &mut self.err, &mut self.input)
            .map_err(|error| Failure::new(Exit::Failed, format!("cannot read the answer: {error}")))
    }

    /// Standard input itself.
    pub(super) fn input(&mut self) -> &mut dyn std::io::Read {
        &mut self.input
    }

    /// All of standard input, for `-f -`.
    ///
    /// # Errors
    /// If it cannot be read, or is longer than `bytes_max`.
    pub(super) fn read_input(&mut self, bytes_max: u64) -> Result<Vec<u8>, Failure> {
        let mut content = Vec::new();
        let read = std::io::Read::read_to_end(&mut std::io::Read::take(&mut self.input, bytes_max + 1), &mut content);
        read.map_err(|error| Failure::new(Exit::Failed, format!("cannot read standard input: {error}")))?;
        if content.len() as u64 > bytes_max {
            return Err(Failure::new(Exit::Invalid, format!("standard input is longer than {bytes_max} bytes")));
        }
        Ok(content)
    }
}

#[cfg(test)]
pub(super) mod testing {
    //! A console whose outputs can be read afterwards.

    use std::cell::RefCell;
    use std::io::{Cursor, Write};
    use std::rc::Rc;

    use super::{Console, Format, Timestamp};

    /// What a console wrote.
    #[derive(Clone, Default)]
    pub(in crate::cli) struct Written {
        out: Rc<RefCell<Vec<u8>>>,
        err: Rc<RefCell<Vec<u8>>>,
    }

    impl Written {
        pub(in crate::cli) fn out(&self) -> String {
            String::from_utf8(self.out.borrow().clone()).unwrap()
        }

        pub(in crate::cli) fn err(&self) -> String {
            String::from_utf8(self.err.borrow().clone()).unwrap()
        }
    }

    struct Shared(Rc<RefCell<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// 2026-11-22T12:00:00Z, the "now" of all console tests.
    pub(in crate::cli) fn noon() -> Timestamp {
        Timestamp::from_second(1_795_348_800).unwrap()
    }

    /// A console that is no terminal, at [`noon`].
    pub(in crate::cli) fn mk_console(format: Format) -> (Console, Written) {
        let written = Written::default();
        let console = Console {
            out: Box::new(Shared(Rc::clone(&written.out))),
            err: Box::new(Shared(Rc::clone(&written.err))),
            input: Box::new(Cursor::new(Vec::new())),
            interactive: false,
            progress: false,
            format,
            colour: false,
            quiet: false,
            verbose: false,
            clock: noon,
        };
        (console, written)
    }

    /// The same with somebody at the terminal who types `answer`.
    pub(in crate::cli) fn mk_terminal(answer: &str) -> (Console, Written) {
        let (mut console, written) = mk_console(Format::Table);
        console.interactive = true;
        console.input = Box::new(Cursor::new(answer.as_bytes().to_vec()));
        (console, written)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{mk_console, mk_terminal};
    use super::*;

    #[test]
    fn data_and_words_go_different_ways() {
        let (mut console, written) = mk_console(Format::Table);
        console.data("a line").unwrap();
        console.say("words");
        console.next("muster status");
        assert_eq!(written.out(), "a line\n");
        assert_eq!(written.err(), "words\nNext: muster status\n");
    }

    #[test]
    fn quiet_silences_words_but_no_warning() {
        let (mut console, written) = mk_console(Format::Table);
        console.quiet = true;
        console.say("words");
        console.next("muster status");
        console.warn("mind the gap");
        assert_eq!(written.err(), "mind the gap\n");
    }

    #[test]
    fn without_a_terminal_a_question_is_refused_unless_answered_beforehand() {
        let (mut console, written) = mk_console(Format::Table);
        let failure = console.confirm("Remove node n1?", false).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.next.unwrap().contains("--yes"));
        assert_eq!(console.confirm("Remove node n1?", true), Ok(()));
        assert_eq!(written.err(), "");
    }

    #[test]
    fn only_yes_is_yes() {
        for answer in ["y\n", "yes\n", "Y\n"] {
            assert_eq!(mk_terminal(answer).0.confirm("Sure?", false), Ok(()), "{answer:?}");
        }
        for answer in ["\n", "", "n\n", "yep\n"] {
            assert_eq!(mk_terminal(answer).0.confirm("Sure?", false).unwrap_err().exit, Exit::Failed, "{answer:?}");
        }
    }

    #[test]
    fn a_reader_that_left_ends_the_command_in_silence() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (mut console, written) = mk_console(Format::Table);
        console.out = Box::new(Gone);
        let failure = console.data("x").unwrap_err();
        assert_eq!(failure.exit, Exit::Done);
        console.failure(&failure);
        assert_eq!(written.err(), "");
    }

    #[test]
    fn input_beyond_its_bound_is_refused() {
        assert_eq!(mk_terminal("abc").0.read_input(3).unwrap(), b"abc");
        assert_eq!(mk_terminal("abcd").0.read_input(3).unwrap_err().exit, Exit::Invalid);
    }

    #[test]
    fn a_secret_is_asked_of_somebody_at_a_terminal_and_not_repeated() {
        let (mut console, written) = mk_terminal("correct horse battery\r\nrest");
        assert_eq!(console.secret("Passphrase: ").unwrap().as_str(), "correct horse battery");
        assert_eq!(written.err(), "Passphrase: \n");
        assert_eq!(mk_console(Format::Table).0.secret("Passphrase: ").unwrap_err().exit, Exit::Usage);
    }
}
