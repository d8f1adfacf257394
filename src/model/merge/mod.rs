//! Several graphs to one that computes what they have in common once: heads over the same encoder. Pure.
//!
//! Value numbering, as compilers do it. Two tensors are one if their bytes are; two inputs are one if they
//! have the same name and type; two nodes are one if operator, attributes and inputs are. So nobody has to
//! say that encoders are equal: what is equal is found, and what is not (a classifier's last layer, which
//! computes first tokens only) stays apart. Nothing is computed otherwise than before, so each head answers
//! as it does alone: packages of ours to the bit; in stock graphs ONNX Runtime may fuse what had one reader and
//! now has two otherwise, and the last digits of fp32 differ.

mod wire;

use std::collections::{BTreeMap, HashMap, HashSet};

use prost::bytes::Bytes;
use wire::{Broken, Field, Message, all, bytes, message_field, text, text_field, varint};

use super::hash_bytes;

/// Field numbers of `onnx.proto` (ONNX 1.17).
mod number {
    pub mod model {
        pub const IR_VERSION: u32 = 1;
        pub const GRAPH: u32 = 7;
        pub const OPSET: u32 = 8;
        pub const FUNCTION: u32 = 25;
    }
    pub mod opset {
        pub const DOMAIN: u32 = 1;
        pub const VERSION: u32 = 2;
    }
    pub mod graph {
        pub const NODE: u32 = 1;
        pub const NAME: u32 = 2;
        pub const INITIALIZER: u32 = 5;
        pub const INPUT: u32 = 11;
        pub const OUTPUT: u32 = 12;
        pub const QUANTIZATION: u32 = 14;
        pub const SPARSE: u32 = 15;
    }
    pub mod node {
        pub const INPUT: u32 = 1;
        pub const OUTPUT: u32 = 2;
        pub const NAME: u32 = 3;
        pub const OP: u32 = 4;
        pub const ATTRIBUTE: u32 = 5;
        pub const DOC: u32 = 6;
        pub const METADATA: u32 = 9;
    }
    pub mod attribute {
        pub const GRAPH: u32 = 6;
        pub const GRAPHS: u32 = 11;
    }
    pub mod tensor {
        pub const NAME: u32 = 8;
        pub const DOC: u32 = 12;
        pub const EXTERNAL: u32 = 13;
    }
    pub mod value {
        pub const NAME: u32 = 1;
        pub const TYPE: u32 = 2;
    }
}
use number::{attribute, graph, model, node, opset, tensor, value};

/// A merged graph.
#[derive(Debug)]
pub(super) struct Merged {
    /// The model. The outputs of graph `i` have their old names with [`suffix`] at the end.
    pub model: Bytes,
    /// Bytes of tensors that stand in it once and not several times.
    pub saved: usize,
    /// Of the smallest of the graphs.
    pub smallest: usize,
}

/// What the names of a graph's outputs end with.
pub(super) fn suffix(place: usize) -> String {
    format!("#{place}")
}

/// `None`: they cannot be merged by these means (tensors in other files, branches, functions, operator sets of
/// different versions, an input of two types); then each runs by itself.
pub(super) fn merge(models: &[Bytes]) -> Option<Merged> {
    Merger::default().merge(models).ok().flatten()
}

#[derive(Default)]
struct Merger {
    inputs: BTreeMap<String, Bytes>,
    /// A tensor's digest to its name.
    tensors: HashMap<String, String>,
    nodes: HashMap<Vec<u8>, Vec<String>>,
    names: HashSet<String>,
    graph: Message,
    outputs: Message,
    saved: usize,
}

impl Merger {
    fn merge(mut self, models: &[Bytes]) -> Result<Option<Merged>, Broken> {
        let (mut opsets, mut ir_version, mut smallest) = (BTreeMap::new(), 0, usize::MAX);
        let mut inputs = Message::new();
        for (place, model) in models.iter().enumerate() {
            let model = wire::read(model.clone())?;
            if all(&model, model::FUNCTION).next().is_some() {
                return Ok(None);
            }
            ir_version = ir_version.max(varint(&model, model::IR_VERSION).unwrap_or(0));
            for import in all(&model, model::OPSET) {
                let import = wire::read(import.clone())?;
                let version = varint(&import, opset::VERSION).unwrap_or(0);
                if *opsets.entry(text(&import, opset::DOMAIN)?).or_insert(version) != version {
                    return Ok(None);
                }
            }
            let graph = wire::read(bytes(&model, model::GRAPH).ok_or(Broken)?.clone())?;
            match self.add(place, &graph, &mut inputs)? {
                Some(size) => smallest = smallest.min(size),
                None => return Ok(None),
            }
        }
        let mut graph = vec![text_field(graph::NAME, "merged")];
        graph.append(&mut self.graph);
        graph.append(&mut inputs);
        graph.append(&mut self.outputs);
        let mut model = vec![Field { number: model::IR_VERSION, value: wire::Value::Varint(ir_version) }];
        model.push(message_field(model::GRAPH, &graph));
        for (domain, version) in opsets {
            let version = Field { number: opset::VERSION, value: wire::Value::Varint(version) };
            model.push(message_field(model::OPSET, &[text_field(opset::DOMAIN, &domain), version]));
        }
        Ok(Some(Merged { model: wire::write(&model), saved: self.saved, smallest }))
    }

    /// One graph; gives the bytes of its tensors. `None`: it cannot be merged.
    fn add(&mut self, place: usize, whole: &[Field], inputs: &mut Message) -> Result<Option<usize>, Broken> {
        if whole.iter().any(|field| [graph::SPARSE, graph::QUANTIZATION].contains(&field.number)) {
            return Ok(None);
        }
        // Its names to those in the merged graph.
        let mut names: HashMap<String, String> = HashMap::new();
        let mut size = 0;
        for stored in all(whole, graph::INITIALIZER) {
            let mut fields = wire::read(stored.clone())?;
            if fields.iter().any(|field| field.number == tensor::EXTERNAL) {
                return Ok(None);
            }
            size += stored.len();
            let name = text(&fields, tensor::NAME)?;
            fields.retain(|field| ![tensor::NAME, tensor::DOC].contains(&field.number));
            let digest = hash_bytes(&wire::write(&fields));
            let merged = match self.tensors.get(&digest) {
                Some(known) => {
                    self.saved += stored.len();
                    known.clone()
                }
                None => {
                    let merged = self.fresh(&name, place);
                    fields.push(text_field(tensor::NAME, &merged));
                    self.graph.push(message_field(graph::INITIALIZER, &fields));
                    self.tensors.insert(digest, merged.clone());
                    merged
                }
            };
            names.insert(name, merged);
        }
        for input in all(whole, graph::INPUT) {
            let fields = wire::read(input.clone())?;
            let name = text(&fields, value::NAME)?;
            // Old exporters list initializers among the inputs.
            if names.contains_key(&name) {
                continue;
            }
            let of_type = bytes(&fields, value::TYPE).cloned().unwrap_or_default();
            match self.inputs.get(&name) {
                Some(known) if element(known)? != element(&of_type)? => return Ok(None),
                Some(_) => {}
                // Something of another graph has the name.
                None if !self.names.insert(name.clone()) => return Ok(None),
                None => {
                    self.inputs.insert(name.clone(), of_type);
                    inputs.push(Field { number: graph::INPUT, value: wire::Value::Bytes(input.clone()) });
                }
            }
            names.insert(name.clone(), name);
        }
        for one in all(whole, graph::NODE) {
            if !self.add_node(place, wire::read(one.clone())?, &mut names)? {
                return Ok(None);
            }
        }
        for output in all(whole, graph::OUTPUT) {
            let mut fields = wire::read(output.clone())?;
            let name = text(&fields, value::NAME)?;
            let merged = names.get(&name).ok_or(Broken)?.clone();
            let shown = format!("{name}{}", suffix(place));
            // Two heads may have one output in common; each has a name for it.
            self.graph.push(message_field(
                graph::NODE,
                &[
                    text_field(node::INPUT, &merged),
                    text_field(node::OUTPUT, &shown),
                    text_field(node::OP, "Identity"),
                ],
            ));
            fields.retain(|field| field.number != value::NAME);
            fields.insert(0, text_field(value::NAME, &shown));
            self.outputs.push(message_field(graph::OUTPUT, &fields));
        }
        Ok(Some(size))
    }

    /// False: a node that cannot be merged.
    fn add_node(
        &mut self,
        place: usize,
        fields: Message,
        names: &mut HashMap<String, String>,
    ) -> Result<bool, Broken> {
        let mut inputs = Vec::new();
        for input in all(&fields, node::INPUT) {
            let input = std::str::from_utf8(input).map_err(|_| Broken)?;
            // An input that is left out has no name.
            inputs.push(match input {
                "" => String::new(),
                name => names.get(name).ok_or(Broken)?.clone(),
            });
        }
        let outputs = all(&fields, node::OUTPUT).map(|name| std::str::from_utf8(name).map(str::to_owned));
        let outputs = outputs.collect::<Result<Vec<_>, _>>().map_err(|_| Broken)?;
        let mut attributes: Vec<&Bytes> = all(&fields, node::ATTRIBUTE).collect();
        for attribute in &attributes {
            let attribute = wire::read((*attribute).clone())?;
            if attribute.iter().any(|field| [attribute::GRAPH, attribute::GRAPHS].contains(&field.number)) {
                return Ok(false);
            }
        }
        attributes.sort();
        // What makes it what it is: all but names of values, its own name, and remarks.
        let mut key: Message = fields.clone();
        let apart = [node::INPUT, node::OUTPUT, node::NAME, node::ATTRIBUTE, node::DOC, node::METADATA];
        key.retain(|field| !apart.contains(&field.number));
        key.sort_by_key(|field| field.number);
        key.extend(attributes.iter().map(|attribute| Field {
            number: node::ATTRIBUTE,
            value: wire::Value::Bytes((*attribute).clone()),
        }));
        key.extend(inputs.iter().map(|input| text_field(node::INPUT, input)));
        // Which of its outputs anybody wants is part of it.
        key.extend(
            outputs.iter().map(|output| text_field(node::OUTPUT, if output.is_empty() { "" } else { "x" })),
        );
        let key = wire::write(&key).to_vec();
        let random = ["Random", "Multinomial", "Bernoulli"];
        let op = text(&fields, node::OP)?;
        let known = self.nodes.get(&key).filter(|_| !random.iter().any(|start| op.starts_with(start)));
        if let Some(known) = known.cloned() {
            names.extend(outputs.into_iter().zip(known).filter(|(name, _)| !name.is_empty()));
            return Ok(true);
        }
        let mut merged = Vec::with_capacity(outputs.len());
        for output in &outputs {
            let name = if output.is_empty() { String::new() } else { self.fresh(output, place) };
            if !name.is_empty() {
                names.insert(output.clone(), name.clone());
            }
            merged.push(name);
        }
        let mut rewritten: Message = inputs.iter().map(|input| text_field(node::INPUT, input)).collect();
        rewritten.extend(merged.iter().map(|output| text_field(node::OUTPUT, output)));
        rewritten
            .extend(fields.into_iter().filter(|field| ![node::INPUT, node::OUTPUT].contains(&field.number)));
        if let Some(name) = rewritten.iter().position(|field| field.number == node::NAME) {
            // Names of nodes are to be different, too.
            let own = text(&rewritten, node::NAME)?;
            rewritten.remove(name);
            rewritten.push(text_field(node::NAME, &format!("{own}{}", suffix(place))));
        }
        self.graph.push(message_field(graph::NODE, &rewritten));
        self.nodes.insert(key, merged);
        Ok(true)
    }

    /// A name that nothing else has.
    fn fresh(&mut self, name: &str, place: usize) -> String {
        let mut fresh = name.to_owned();
        let mut n = place;
        while !self.names.insert(fresh.clone()) {
            fresh = format!("{name}/{n}");
            n += 1;
        }
        fresh
    }
}

/// A tensor type's element type; its dimensions are named as each exporter likes.
fn element(of_type: &Bytes) -> Result<Option<u64>, Broken> {
    let of_type = wire::read(of_type.clone())?;
    let Some(tensor) = bytes(&of_type, 1) else { return Ok(None) };
    Ok(varint(&wire::read(tensor.clone())?, 1))
}
