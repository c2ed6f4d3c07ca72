//! HTML that cannot be broken out of: every text is escaped where it is written.

/// Writes HTML. Only `&'static str` becomes markup.
#[derive(Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup of our own.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text of anybody.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // Characters without a shape, and those that turn the direction of the text around them, are shown as
                // what they are.
                c if (c.is_control() && !matches!(c, '\n' | '\t')) || is_turning(c) => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        self
    }

    /// A heading or paragraph: markup around a text.
    pub(super) fn around(&mut self, before: &'static str, text: &str, after: &'static str) -> &mut Self {
        self.raw(before).text(text).raw(after)
    }

    /// A row of two cells, the first a heading.
    pub(super) fn pair(&mut self, name: &str, value: &str) -> &mut Self {
        self.around("<tr><th scope=\"row\">", name, "</th>").around("<td>", value, "</td></tr>\n")
    }

    /// The head of a table whose caption and columns are these.
    pub(super) fn table(&mut self, caption: &str, columns: &[&str]) -> &mut Self {
        self.raw("<table>\n").around("<caption>", caption, "</caption>\n");
        if !columns.is_empty() {
            self.raw("<thead><tr>");
            for column in columns {
                self.around("<th scope=\"col\">", column, "</th>");
            }
            self.raw("</tr></thead>\n");
        }
        self.raw("<tbody>\n")
    }

    /// A row of cells.
    pub(super) fn row(&mut self, cells: &[&str]) -> &mut Self {
        self.raw("<tr>");
        for cell in cells {
            self.around("<td>", cell, "</td>");
        }
        self.raw("</tr>\n")
    }

    pub(super) fn end_table(&mut self) -> &mut Self {
        self.raw("</tbody></table>\n")
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

fn is_turning(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
}
