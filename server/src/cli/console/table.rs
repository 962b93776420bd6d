//! Tables as kubectl prints them: upper-case headers, three spaces, no borders.

use comfy_table::{ColumnConstraint, Width, presets};

use super::escape::plain;

/// Spaces between columns.
const GAP: u16 = 3;
/// Shown for an empty cell, so that columns can be cut by `awk`.
const EMPTY: &str = "<none>";

/// How a cell is coloured on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Paint {
    /// As it should be.
    Good,
    /// On its way, or waiting for somebody.
    Pending,
    /// Needs somebody.
    Bad,
}

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Paint::Good => "32",
            Paint::Pending => "33",
            Paint::Bad => "31",
        }
    }
}

/// Rows under a header; at most one cell of a row is coloured.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Table {
    header: &'static [&'static str],
    rows: Vec<Row>,
    widths_min: Vec<u16>,
}

#[derive(Debug, Clone)]
struct Row {
    cells: Vec<String>,
    paint: Option<(usize, Paint)>,
}

impl Table {
    /// A table without rows.
    pub(in crate::cli) fn new(header: &'static [&'static str]) -> Self {
        Self { header, rows: Vec::new(), widths_min: Vec::new() }
    }

    /// Columns at least this wide, for rows that are printed one by one.
    #[must_use]
    pub(in crate::cli) fn with_widths(mut self, widths_min: &[u16]) -> Self {
        self.widths_min = widths_min.to_vec();
        self
    }

    /// Adds a row; cells become [`plain`], empty ones `<none>`.
    pub(in crate::cli) fn row(&mut self, cells: impl IntoIterator<Item = String>) -> &mut Self {
        let cells = cells.into_iter().map(|cell| if cell.is_empty() { EMPTY.to_owned() } else { plain(&cell) });
        self.rows.push(Row { cells: cells.collect(), paint: None });
        self
    }

    /// Colours a cell of the last row.
    pub(in crate::cli) fn paint(&mut self, column: &str, paint: Option<Paint>) {
        let index = self.header.iter().position(|header| *header == column);
        if let (Some(row), Some(index), Some(paint)) = (self.rows.last_mut(), index, paint) {
            row.paint = Some((index, paint));
        }
    }

    /// Header and rows.
    pub(in crate::cli) fn render(&self, colour: bool) -> String {
        let mut lines = self.lines();
        if colour {
            for (line, row) in lines.iter_mut().skip(1).zip(&self.rows) {
                row.colour(line);
            }
        }
        join(&lines)
    }

    /// Rows alone, as wide as with the header.
    pub(in crate::cli) fn render_rows(&self, colour: bool) -> String {
        let all = self.render(colour);
        all.split_once('\n').map(|(_, rows)| rows.to_owned()).unwrap_or_default()
    }

    fn lines(&self) -> Vec<String> {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_header(self.header.iter().copied());
        for row in &self.rows {
            table.add_row(row.cells.iter().map(String::as_str));
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, GAP));
            if let Some(width) = self.widths_min.get(index) {
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width + GAP)));
            }
        }
        table.lines().map(|line| line.trim_end().to_owned()).collect()
    }
}

impl Row {
    /// Colours the cell by finding its text: everything before it is padding and cells of the same line, so the first
    /// place after the cells before it is the right one.
    fn colour(&self, line: &mut String) {
        let Some((index, paint)) = self.paint else { return };
        let mut at = 0;
        for cell in &self.cells[..index] {
            match line[at..].find(cell.as_str()) {
                Some(found) => at += found + cell.len(),
                None => return,
            }
        }
        let cell = &self.cells[index];
        if let Some(found) = line[at..].find(cell.as_str()) {
            let start = at + found;
            line.replace_range(start..start + cell.len(), &format!("\u{1b}[{}m{cell}\u{1b}[0m", paint.code()));
        }
    }
}

fn join(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_table() -> Table {
        let mut table = Table::new(&["NAME", "PHASE", "AGE"]);
        table.row(["n1".to_owned(), "Ready".to_owned(), "5m".to_owned()]).paint("PHASE", Some(Paint::Good));
        table.row(["a-long-name".to_owned(), "Failed".to_owned(), String::new()]).paint("PHASE", Some(Paint::Bad));
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_have_no_tail() {
        assert_eq!(
            mk_table().render(false),
            "NAME          PHASE    AGE\n\
             n1            Ready    5m\n\
             a-long-name   Failed   <none>\n"
        );
    }

    #[test]
    fn colours_do_not_move_columns() {
        assert_eq!(
            mk_table().render(true),
            "NAME          PHASE    AGE\n\
             n1            \u{1b}[32mReady\u{1b}[0m    5m\n\
             a-long-name   \u{1b}[31mFailed\u{1b}[0m   <none>\n"
        );
    }

    #[test]
    fn a_cell_that_reads_like_an_earlier_one_is_coloured_itself() {
        let mut table = Table::new(&["NAME", "PHASE"]);
        table.row(["Ready".to_owned(), "Ready".to_owned()]).paint("PHASE", Some(Paint::Good));
        assert_eq!(table.render_rows(true), "Ready   \u{1b}[32mReady\u{1b}[0m\n");
    }

    #[test]
    fn rows_printed_later_keep_the_columns() {
        let widths = [11, 6, 3];
        let mut first = Table::new(&["NAME", "PHASE", "AGE"]).with_widths(&widths);
        first.row(["n1".to_owned(), "Ready".to_owned(), "5m".to_owned()]);
        let mut second = Table::new(&["NAME", "PHASE", "AGE"]).with_widths(&widths);
        second.row(["a-long-name".to_owned(), "Failed".to_owned(), "1s".to_owned()]);
        assert_eq!(
            first.render(false) + &second.render_rows(false),
            "NAME          PHASE    AGE\n\
             n1            Ready    5m\n\
             a-long-name   Failed   1s\n"
        );
    }

    #[test]
    fn a_claim_with_escape_sequences_is_written_out() {
        let mut table = Table::new(&["NAME"]);
        table.row(["x\u{1b}[1A\nforged".to_owned()]);
        assert_eq!(table.render(true), "NAME\nx\\u{1b}[1A\\u{a}forged\n");
    }
}
