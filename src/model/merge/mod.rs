//! Several graphs to one that computes what they have in common once: heads over the same encoder. Pure.
//!
//! Value numbering, as compilers do it. Two tensors are one if their bytes are; two inputs are one if they
//! have the same name and type; two nodes are one if operator, attributes and inputs are. So nobody has to
//! say that encoders are equal: what is equal is found, and what is not (a classifier's last layer, which
//! computes first tokens only) stays apart. Nothing is computed otherwise than before, so each head answers
//! as it does alone: packages of ours to the bit; in stock graphs ONNX Runtime may fuse what had one reader and
//! now has two otherwise, and the last digits of fp32 differ.

mod weights;
mod wire;

use std::collections::{BTreeMap, HashMap, HashSet};

use prost::bytes::Bytes;
use weights::{Tensor, Weights};
use wire::{Broken, Field, Message, all, bytes, message_field, text, text_field, varint};

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

/// Graphs that became one.
#[derive(Debug)]
pub(super) struct Merged {
    /// Which ones, by their places among all; at least two.
    pub places: Vec<usize>,
    /// The model. The outputs of the `i`th of these have their old names with [`suffix`] at the end.
    pub model: Bytes,
    /// Bytes of tensors that stand in it once and not several times.
    pub saved: usize,
}

/// What the names of a graph's outputs end with.
pub(super) fn suffix(number: usize) -> String {
    format!("#{number}")
}

/// Those that have most of their weights in common become one, the others stay: one after the other, each joins the
/// first group in which one is mostly like it. So none is in a group with which it has nothing in common, and one
/// that cannot be merged by these means (tensors in other files, branches, functions, operator sets of different
/// versions, an input of two types) keeps nobody else from it.
pub(super) fn merge(models: &[Bytes]) -> Vec<Merged> {
    let mut groups: Vec<Merger> = Vec::new();
    for (place, model) in models.iter().enumerate() {
        // Of a graph that cannot be read ONNX Runtime says what is wrong with it.
        let Ok(Some(part)) = Part::read(place, model) else { continue };
        match groups.iter_mut().find_map(|group| Some((group.with(&part)?, group))) {
            Some((grown, group)) => *group = grown,
            None => groups.extend(Merger::default().grown(&part)),
        }
    }
    groups.into_iter().filter(|group| group.members.len() > 1).map(Merger::finish).collect()
}

/// One of the graphs, taken apart.
struct Part {
    place: usize,
    ir_version: u64,
    /// Versions by domain.
    opsets: BTreeMap<String, u64>,
    graph: Message,
    tensors: Vec<Tensor>,
}

impl Part {
    /// `None`: it cannot be merged with any.
    fn read(place: usize, model: &Bytes) -> Result<Option<Self>, Broken> {
        let model = wire::read(model.clone())?;
        if all(&model, model::FUNCTION).next().is_some() {
            return Ok(None);
        }
        let mut opsets = BTreeMap::new();
        for import in all(&model, model::OPSET) {
            let import = wire::read(import.clone())?;
            opsets.insert(text(&import, opset::DOMAIN)?, varint(&import, opset::VERSION).unwrap_or(0));
        }
        let graph = wire::read(bytes(&model, model::GRAPH).ok_or(Broken)?.clone())?;
        if graph.iter().any(|field| [graph::SPARSE, graph::QUANTIZATION].contains(&field.number)) {
            return Ok(None);
        }
        let ir_version = varint(&model, model::IR_VERSION).unwrap_or(0);
        let tensors = weights::tensors(&graph)?;
        Ok(tensors.map(|tensors| Self { place, ir_version, opsets, graph, tensors }))
    }
}

/// A graph that others are added to. Its copies share its tensors.
#[derive(Clone, Default)]
struct Merger {
    /// Places and weights of the graphs that are in it.
    members: Vec<(usize, Weights)>,
    ir_version: u64,
    opsets: BTreeMap<String, u64>,
    /// The types of those that there are.
    known_inputs: BTreeMap<String, Bytes>,
    /// A tensor's digest to its name.
    tensors: HashMap<String, String>,
    nodes: HashMap<Vec<u8>, Vec<String>>,
    names: HashSet<String>,
    graph: Message,
    inputs: Message,
    outputs: Message,
    saved: usize,
}

impl Merger {
    /// With one more, if it is mostly like one that is in it already.
    fn with(&self, part: &Part) -> Option<Self> {
        let weights = Weights::of(&part.tensors);
        let like = self.members.iter().any(|(_, member)| member.are_mostly(&weights));
        like.then(|| self.clone().grown(part)).flatten()
    }

    /// With one more. `None`: it cannot be merged.
    fn grown(mut self, part: &Part) -> Option<Self> {
        let fits = self.add(part).unwrap_or(false);
        fits.then_some(self)
    }

    fn finish(self) -> Merged {
        let mut graph = vec![text_field(graph::NAME, "merged")];
        graph.extend(self.graph);
        graph.extend(self.inputs);
        graph.extend(self.outputs);
        let mut model =
            vec![Field { number: model::IR_VERSION, value: wire::Value::Varint(self.ir_version) }];
        model.push(message_field(model::GRAPH, &graph));
        for (domain, version) in self.opsets {
            let version = Field { number: opset::VERSION, value: wire::Value::Varint(version) };
            model.push(message_field(model::OPSET, &[text_field(opset::DOMAIN, &domain), version]));
        }
        let places = self.members.into_iter().map(|(place, _)| place).collect();
        Merged { places, model: wire::write(&model), saved: self.saved }
    }

    /// False: it cannot be merged, and this is half a graph.
    fn add(&mut self, part: &Part) -> Result<bool, Broken> {
        let Part { ir_version, opsets, graph: whole, tensors, .. } = part;
        let number = self.members.len();
        self.members.push((part.place, Weights::of(tensors)));
        self.ir_version = self.ir_version.max(*ir_version);
        for (domain, version) in opsets {
            if self.opsets.entry(domain.clone()).or_insert(*version) != version {
                return Ok(false);
            }
        }
        // Its names to those in the merged graph.
        let mut names: HashMap<String, String> = HashMap::new();
        for tensor in tensors {
            let merged = match self.tensors.get(&tensor.digest) {
                Some(known) => {
                    self.saved += tensor.size;
                    known.clone()
                }
                None => {
                    let merged = self.fresh(&tensor.name, number);
                    let mut fields = tensor.fields.clone();
                    fields.push(text_field(tensor::NAME, &merged));
                    self.graph.push(message_field(graph::INITIALIZER, &fields));
                    self.tensors.insert(tensor.digest.clone(), merged.clone());
                    merged
                }
            };
            names.insert(tensor.name.clone(), merged);
        }
        for input in all(whole, graph::INPUT) {
            let fields = wire::read(input.clone())?;
            let name = text(&fields, value::NAME)?;
            // Old exporters list initializers among the inputs.
            if names.contains_key(&name) {
                continue;
            }
            let of_type = bytes(&fields, value::TYPE).cloned().unwrap_or_default();
            match self.known_inputs.get(&name) {
                Some(known) if element(known)? != element(&of_type)? => return Ok(false),
                Some(_) => {}
                // Something of another graph has the name.
                None if !self.names.insert(name.clone()) => return Ok(false),
                None => {
                    self.known_inputs.insert(name.clone(), of_type);
                    self.inputs
                        .push(Field { number: graph::INPUT, value: wire::Value::Bytes(input.clone()) });
                }
            }
            names.insert(name.clone(), name);
        }
        for one in all(whole, graph::NODE) {
            if !self.add_node(number, wire::read(one.clone())?, &mut names)? {
                return Ok(false);
            }
        }
        for output in all(whole, graph::OUTPUT) {
            let mut fields = wire::read(output.clone())?;
            let name = text(&fields, value::NAME)?;
            let merged = names.get(&name).ok_or(Broken)?.clone();
            let shown = format!("{name}{}", suffix(number));
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
        Ok(true)
    }

    /// False: a node that cannot be merged.
    fn add_node(
        &mut self,
        number: usize,
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
            let name = if output.is_empty() { String::new() } else { self.fresh(output, number) };
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
            rewritten.push(text_field(node::NAME, &format!("{own}{}", suffix(number))));
        }
        self.graph.push(message_field(graph::NODE, &rewritten));
        self.nodes.insert(key, merged);
        Ok(true)
    }

    /// A name that nothing else has.
    fn fresh(&mut self, name: &str, number: usize) -> String {
        let mut fresh = name.to_owned();
        let mut n = number;
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
