//! Plain tables: no frames, one space of air, numbers to the right.

use comfy_table::{CellAlignment, ContentArrangement, presets};

/// Rows under a head.
pub(crate) struct Table {
    inner: comfy_table::Table,
    columns: usize,
}

impl Table {
    pub(crate) fn new<T: Into<String>>(head: impl IntoIterator<Item = T>) -> Self {
        let head: Vec<String> = head.into_iter().map(Into::into).collect();
        let columns = head.len();
        let mut inner = comfy_table::Table::new();
        inner
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(head);
        Self { inner, columns }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.inner.add_row(cells);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inner.row_count() == 0
    }

    /// The lines, each indented by two.
    pub(crate) fn text(mut self) -> String {
        for index in 1..self.columns {
            let is_number = self.inner.row_iter().all(|row| {
                let mut cells = row.cell_iter();
                let cell = cells.nth(index).map(comfy_table::Cell::content);
                cell.is_none_or(|text| {
                    text.starts_with(|c: char| c.is_ascii_digit() || "-–·".contains(c))
                })
            });
            if is_number && let Some(column) = self.inner.column_mut(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self.inner
            .lines()
            .map(|line| format!(" {}\n", line.trim_end()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn numbers_stand_to_the_right() {
        let mut table = Table::new(["board", "RAM"]);
        table.row(["esp-eye".to_owned(), "9".to_owned()]);
        table.row(["himax".to_owned(), "1024".to_owned()]);
        assert_eq!(
            table.text(),
            "  board     RAM\n  esp-eye     9\n  himax    1024\n"
        );
    }
}
