//! A sentence with a place for a label, as Python's `str.format` reads it for Hugging Face's pipeline: `{}` or
//! `{0}` is the label, `{{` and `}}` are braces. Pure.

/// Its pieces: a label stands between each two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<String>);

/// What is wrong with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    NoPlace,
    /// `{}` counts its places, and there is one label.
    Places,
    /// A brace alone, or with something else in it.
    Brace,
}

impl Wrong {
    pub fn what(self) -> &'static str {
        match self {
            Self::NoPlace => "has no place for the label",
            Self::Places => "has two places `{}`, and there is one label",
            Self::Brace => "has a brace that is not `{}`",
        }
    }
}

impl Template {
    pub fn read(text: &str) -> Result<Self, Wrong> {
        let (mut pieces, mut rest) = (vec![String::new()], text);
        let (mut counted, mut numbered) = (0, 0);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            let known = ["{{", "}}", "{}", "{0}"].into_iter().find(|known| from.starts_with(known));
            let known = known.ok_or(Wrong::Brace)?;
            let piece = pieces.last_mut().ok_or(Wrong::Brace)?;
            piece.push_str(before);
            match known {
                "{{" => piece.push('{'),
                "}}" => piece.push('}'),
                place => {
                    if place == "{}" {
                        counted += 1
                    } else {
                        numbered += 1
                    }
                    pieces.push(String::new());
                }
            }
            rest = from.get(known.len()..).unwrap_or_default();
        }
        if let Some(last) = pieces.last_mut() {
            last.push_str(rest);
        }
        match (counted, numbered) {
            (0, 0) => Err(Wrong::NoPlace),
            (0, _) | (1, 0) => Ok(Self(pieces)),
            // Python does not go from one way to the other either.
            _ => Err(Wrong::Places),
        }
    }

    pub fn with(&self, label: &str) -> String {
        self.0.join(label)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_label_stands_where_python_puts_it() {
        let with = |template, label| Template::read(template).unwrap().with(label);
        assert_eq!(with("This example is {}.", "{braces}"), "This example is {braces}.");
        assert_eq!(with("{0}: it is {0}", "x"), "x: it is x");
        assert_eq!(with("{} or {{}}", "x"), "x or {}");
        assert_eq!(with("Ça {{{}}} 🎉", "café"), "Ça {café} 🎉");
        for (template, wrong) in [
            ("no place", Wrong::NoPlace),
            ("{{}}", Wrong::NoPlace),
            ("", Wrong::NoPlace),
            ("{} and {}", Wrong::Places),
            ("{} and {0}", Wrong::Places),
            ("{label}", Wrong::Brace),
            ("{1}", Wrong::Brace),
            ("{} {", Wrong::Brace),
            ("{} }", Wrong::Brace),
        ] {
            assert_eq!(Template::read(template), Err(wrong), "{template}");
        }
    }
}
