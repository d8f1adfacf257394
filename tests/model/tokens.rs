//! Odd texts, and every character there is, become the tokens that Hugging Face's transformers makes
//! of them (tools/tokens.py).

use serde_json::Value;
use squeezeflow::text::Tokens;

use super::golden::{read, rows, sha256_of_ids, sha256_of_numbers, tokenizers};

#[test]
fn odd_texts_have_transformers_tokens() {
    let texts: Vec<Value> = ["texts", "odd"].into_iter().flat_map(rows).collect();
    let golden = rows("tokens");
    let ids = |rows: &[Value]| rows.iter().map(|r| r["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&golden), ids(&texts), "tools/tokens.py has seen other texts");
    assert!(texts.len() > 500);
    for (package, tokenizer) in tokenizers() {
        for (row, text) in golden.iter().zip(&texts) {
            let (id, expected) = (&row["id"], &row[package]);
            let Some((tokens, count)) = read(&tokenizer, text["text"].as_str().unwrap()) else {
                assert_eq!(expected["seen"], 2, "{package} {id}: nothing but [CLS] and [SEP]");
                continue;
            };
            assert_eq!(count.seen as u64, expected["seen"], "{package} {id}: seen");
            assert_eq!(count.used as u64, expected["used"], "{package} {id}: used");
            match expected.get("ids") {
                Some(ids) => assert_eq!(serde_json::json!(tokens.ids), *ids, "{package} {id}"),
                None => assert_eq!(sha256_of_ids(&tokens.ids), expected["sha256"], "{package} {id}"),
            }
        }
    }
}

/// Sixteen characters at a time, each between an x and a y, so that it can split, join or vanish.
#[test]
fn every_character_has_transformers_tokens() {
    let golden = rows("characters");
    assert_eq!(golden.len(), 7 * 16, "the planes that are in use");
    for (package, tokenizer) in tokenizers() {
        for row in &golden {
            let from = u32::from_str_radix(row["from"].as_str().unwrap(), 16).unwrap();
            let tokens: Vec<Tokens> = (from..from + 4096)
                .step_by(16)
                .map(|start| (start..start + 16).filter_map(char::from_u32))
                .map(|chars| chars.map(|c| format!("x{c}y ")).collect::<String>())
                .filter(|text| !text.is_empty())
                .map(|text| read(&tokenizer, &text).unwrap())
                .inspect(|(_, count)| assert_eq!(count.used, count.seen, "{from:#x}"))
                .map(|(tokens, _)| tokens)
                .collect();
            let numbers = tokens
                .iter()
                .flat_map(|t| std::iter::once(t.ids.len() as i64).chain(t.ids.iter().map(|&id| id.into())));
            assert_eq!(sha256_of_numbers(numbers), row[package], "{package}, from U+{from:04X}");
        }
    }
}

/// Where a special token may stand in a text, it is text: its own id is nowhere between the two that
/// frame every sequence.
#[test]
fn no_text_can_forge_a_special_token() {
    let specials = ["[SEP]", "[CLS]", "[PAD]", "[MASK]", "<s>", "</s>", "<pad>", "<mask>"];
    for (package, tokenizer) in tokenizers() {
        let own = own_specials(package);
        let between = |text: &str| {
            let (Tokens { ids, .. }, _) = read(&tokenizer, text).unwrap();
            ids[1..ids.len() - 1].iter().filter(|id| own.contains(id)).count()
        };
        assert!(own.len() >= 4, "{package}");
        for special in specials {
            for text in ["{}", "{} a", "a {}", "a {} b", "a{}b", "{}{}{}", " {} ", "\n{}\u{200b}", "{}\0"] {
                let text = text.replace("{}", special);
                assert_eq!(between(&text), 0, "{package}: {text:?}");
            }
        }
    }
}

/// Of the tokenizer file itself; not the one for unknown characters, which text may well become.
fn own_specials(package: &str) -> Vec<u32> {
    let path = super::golden::PACKAGES.iter().find(|(_, name)| *name == package).unwrap().0;
    let file = std::fs::read(super::here(path).join("tokenizer.json")).unwrap();
    let file: Value = serde_json::from_slice(&file).unwrap();
    let added = file["added_tokens"].as_array().unwrap().iter();
    added
        .filter(|t| t["special"] == true && !t["content"].as_str().unwrap().to_lowercase().contains("unk"))
        .map(|t| t["id"].as_u64().unwrap() as u32)
        .collect()
}
