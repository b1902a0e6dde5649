//! Layouts as JSON. The keys are told in the documentation of the parent.
//!
//! What is read is bounded before it is expanded: a file is small, and a key that is not known is an error.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::spec::{CodeKind, CodeSpec, Interval, LayoutSpec, StepSpec};
use super::{Layout, LayoutError};
use crate::ecc::{Align, HammingOrder, default_polynomial};

/// The schema that is written and read.
pub const SCHEMA: &str = "nandimg.layout/1";

/// Bytes of the largest file that is read: hostile JSON takes up to 150 times as much in RAM.
const MAX_LEN: usize = 256 << 10;

impl Layout {
    /// The layout that a JSON file says.
    ///
    /// # Errors
    /// When it says none: the sentence names the field.
    pub fn from_json(bytes: &[u8]) -> Result<Self, LayoutError> {
        read(bytes).map_err(LayoutError::Invalid).and_then(Self::new)
    }

    /// The JSON file that says this layout.
    #[must_use]
    pub fn to_json(&self) -> String {
        write(&self.spec)
    }
}

type Read<T> = Result<T, String>;

/// A value and where in the file it stands.
struct Node<'a> {
    at: String,
    value: &'a Value,
}

/// An object of which every key is known.
struct Object<'a> {
    at: String,
    map: &'a Map<String, Value>,
}

impl<'a> Node<'a> {
    /// What stands there instead of what was expected.
    fn expected<T>(&self, what: &str) -> Read<T> {
        let found = match self.value {
            Value::Array(list) => format!("a list of {}", list.len()),
            Value::Object(_) => "an object".into(),
            plain => plain.to_string().chars().take(60).collect(),
        };
        Err(format!("{}: expected {what}, found {found}", self.at))
    }

    fn object(&self, keys: &[&str]) -> Read<Object<'a>> {
        let Value::Object(map) = self.value else { return self.expected("an object") };
        match map.keys().find(|key| !keys.contains(&key.as_str())) {
            Some(key) => {
                let key: String = key.chars().take(60).collect();
                Err(format!("{}: expected only {}, found {key:?}", self.at, keys.join(", ")))
            }
            None => Ok(Object { at: self.at.clone(), map }),
        }
    }

    fn list<T>(&self, item: impl Fn(&Node) -> Read<T>) -> Read<Vec<T>> {
        let Value::Array(list) = self.value else { return self.expected("a list") };
        let nodes = list.iter().enumerate();
        nodes.map(|(i, value)| item(&Node { at: format!("{}[{i}]", self.at), value })).collect()
    }

    fn text(&self) -> Read<&'a str> {
        match self.value.as_str() {
            Some(text) => Ok(text),
            None => self.expected("a string"),
        }
    }

    fn number(&self) -> Read<u64> {
        match self.value.as_u64() {
            Some(number) => Ok(number),
            None => self.expected("a whole number"),
        }
    }

    fn small_number(&self) -> Read<u32> {
        match u32::try_from(self.number()?) {
            Ok(number) => Ok(number),
            Err(_) => self.expected("a number below 2^32"),
        }
    }

    fn flag(&self) -> Read<bool> {
        match self.value.as_bool() {
            Some(flag) => Ok(flag),
            None => self.expected("true or false"),
        }
    }

    /// One of these words, as what it stands for.
    fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Read<T> {
        match words.iter().find(|(word, _)| self.value == *word) {
            Some((_, meaning)) => Ok(*meaning),
            None => {
                let words: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
                self.expected(&words.join(" or "))
            }
        }
    }
}

impl<'a> Object<'a> {
    fn may_have(&self, key: &str) -> Option<Node<'a>> {
        let at = if self.at.is_empty() { key.to_string() } else { format!("{}.{key}", self.at) };
        self.map.get(key).map(|value| Node { at, value })
    }

    fn has(&self, key: &str) -> Read<Node<'a>> {
        let whole = if self.at.is_empty() { "the layout" } else { &self.at };
        self.may_have(key).ok_or_else(|| format!("{whole}: expected {key:?}, and there is none"))
    }

    /// What `read` makes of the value of `key`, or `default` where there is none.
    fn or<T>(&self, key: &str, default: T, read: impl Fn(&Node<'a>) -> Read<T>) -> Read<T> {
        self.may_have(key).map_or(Ok(default), |node| read(&node))
    }
}

fn read(bytes: &[u8]) -> Read<LayoutSpec> {
    if bytes.len() > MAX_LEN {
        return Err(format!("it is no layout: expected at most {MAX_LEN} bytes, found {}", bytes.len()));
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|error| format!("it is not JSON: {error}"))?;
    let schema = value.get("schema").unwrap_or(&Value::Null);
    if schema != SCHEMA {
        return Node { at: "schema".into(), value: schema }.expected(&format!("{SCHEMA:?}"));
    }
    let layout = Node { at: String::new(), value: &value }.object(&[
        "schema",
        "name",
        "description",
        "page_size",
        "spare_size",
        "data",
        "code",
        "steps",
        "free",
        "zeros",
        "marker",
    ])?;
    let intervals = |node: &Node| node.list(|item| interval(item, Within::Page));
    Ok(LayoutSpec {
        name: layout.has("name")?.text()?.to_string(),
        description: layout.or("description", "", Node::text)?.to_string(),
        page_size: layout.has("page_size")?.small_number()?,
        spare_size: layout.has("spare_size")?.small_number()?,
        data: intervals(&layout.has("data")?)?,
        code: layout.or("code", None, |node| code(node).map(Some))?,
        steps: layout.or("steps", vec![], |node| node.list(steps))?,
        free: layout.or("free", vec![], intervals)?,
        zeros: layout.or("zeros", vec![], intervals)?,
        marker: layout.or("marker", None, |node| interval(node, Within::Page).map(Some))?,
    })
}

/// Where an interval stands: only those of steps advance.
#[derive(Clone, Copy, PartialEq)]
enum Within {
    Page,
    Step,
}

fn interval(node: &Node, within: Within) -> Read<Interval> {
    let unit = match node.value.get("byte") {
        Some(_) => ("byte", "bytes", 8),
        None => ("bit", "bits", 1),
    };
    let keys = [unit.0, unit.1, "times", "stride", "advance"];
    let interval = node.object(if within == Within::Step { &keys } else { &keys[..4] })?;
    if interval.may_have(unit.0).is_none() {
        return Err(format!("{}: expected \"byte\" or \"bit\", and there is none", node.at));
    }
    let bits = |node: &Node| match node.number()?.checked_mul(unit.2) {
        Some(bits) => Ok(bits),
        None => node.expected("a number below 2^61"),
    };
    let times = interval.or("times", 1, Node::number)?;
    let stride = if times > 1 { bits(&interval.has("stride")?)? } else { interval.or("stride", 0, bits)? };
    Ok(Interval {
        start: bits(&interval.has(unit.0)?)?,
        len: bits(&interval.has(unit.1)?)?,
        times,
        stride,
        advance: interval.or("advance", 0, bits)?,
    })
}

fn steps(node: &Node) -> Read<StepSpec> {
    let steps = node.object(&["times", "protects", "ecc"])?;
    let intervals = |node: &Node| node.list(|item| interval(item, Within::Step));
    Ok(StepSpec {
        times: steps.or("times", 1, Node::number)?,
        protects: steps.or("protects", vec![], intervals)?,
        ecc: intervals(&steps.has("ecc")?)?,
    })
}

const ORDERS: &[(&str, HammingOrder)] =
    &[("linux", HammingOrder::Linux), ("smartmedia", HammingOrder::SmartMedia)];
const ALIGNS: &[(&str, Align)] = &[("left", Align::Left), ("right", Align::Right)];
const HAMMING: &[&str] = &["kind", "order", "invert_data", "invert_ecc"];
const BCH: &[&str] =
    &["kind", "m", "t", "polynomial", "erased_mask", "reverse_bits", "align", "invert_data", "invert_ecc"];

fn code(node: &Node) -> Read<CodeSpec> {
    let kind = node.object(&[HAMMING, BCH].concat())?.has("kind")?;
    let keys = kind.one_of(&[("hamming", HAMMING), ("bch", BCH)])?;
    let code = node.object(keys)?;
    let kind = match keys == BCH {
        false => CodeKind::Hamming { order: code.or("order", HammingOrder::Linux, |n| n.one_of(ORDERS))? },
        true => {
            let m = code.has("m")?.small_number()?;
            CodeKind::Bch {
                m,
                t: code.has("t")?.small_number()?,
                polynomial: code.or("polynomial", default_polynomial(m).unwrap_or(0), polynomial)?,
                erased_mask: code.or("erased_mask", false, Node::flag)?,
                reverse_bits: code.or("reverse_bits", false, Node::flag)?,
                align: code.or("align", Align::Left, |n| n.one_of(ALIGNS))?,
            }
        }
    };
    Ok(CodeSpec {
        kind,
        invert_data: code.or("invert_data", false, Node::flag)?,
        invert_ecc: code.or("invert_ecc", false, Node::flag)?,
    })
}

/// A number, or one in hex in a string.
fn polynomial(node: &Node) -> Read<u32> {
    let hex = node.value.as_str().and_then(|text| text.strip_prefix("0x"));
    match hex.map(|digits| u32::from_str_radix(digits, 16)) {
        Some(Ok(number)) => Ok(number),
        None if node.value.is_u64() => node.small_number(),
        _ => node.expected("a number, or one in hex such as \"0x201b\""),
    }
}

/// One line for each key, and for each kind of step; what is by default is left out.
fn write(spec: &LayoutSpec) -> String {
    let list = |intervals: &[Interval]| Value::from_iter(intervals.iter().map(interval_value));
    let mut lines = vec![("schema", json!(SCHEMA)), ("name", json!(spec.name))];
    if !spec.description.is_empty() {
        lines.push(("description", json!(spec.description)));
    }
    lines.extend([
        ("page_size", json!(spec.page_size)),
        ("spare_size", json!(spec.spare_size)),
        ("data", list(&spec.data)),
    ]);
    lines.extend(spec.code.as_ref().map(|code| ("code", code_value(code))));
    let steps = spec
        .steps
        .iter()
        .map(|step| json!({ "times": step.times, "protects": list(&step.protects), "ecc": list(&step.ecc) }));
    let steps: Vec<Value> = steps.collect();
    if !steps.is_empty() {
        lines.push(("steps", Value::Array(steps)));
    }
    for (key, intervals) in [("free", &spec.free), ("zeros", &spec.zeros)] {
        if !intervals.is_empty() {
            lines.push((key, list(intervals)));
        }
    }
    lines.extend(spec.marker.as_ref().map(|marker| ("marker", interval_value(marker))));

    let mut text = String::from("{");
    for (i, (key, value)) in lines.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        // A String takes all that is written.
        let _ = match value {
            Value::Array(steps) if *key == "steps" => {
                let steps: Vec<_> = steps.iter().map(|step| format!("\n    {step}")).collect();
                write!(text, "{comma}\n  {key:?}: [{}\n  ]", steps.join(","))
            }
            _ => write!(text, "{comma}\n  {key:?}: {value}"),
        };
    }
    text + "\n}\n"
}

fn interval_value(interval: &Interval) -> Value {
    let Interval { start, len, times, stride, advance } = *interval;
    let whole = (start | len | stride | advance).is_multiple_of(8);
    let (first, count, bits) = if whole { ("byte", "bytes", 8) } else { ("bit", "bits", 1) };
    let mut map = Map::new();
    map.insert(first.into(), json!(start / bits));
    map.insert(count.into(), json!(len / bits));
    if times != 1 {
        map.insert("times".into(), json!(times));
    }
    for (key, value) in [("stride", stride), ("advance", advance)] {
        if value != 0 {
            map.insert(key.into(), json!(value / bits));
        }
    }
    Value::Object(map)
}

fn code_value(code: &CodeSpec) -> Value {
    let CodeSpec { kind, invert_data, invert_ecc } = *code;
    match kind {
        CodeKind::Hamming { order } => json!({
            "kind": "hamming",
            "order": word(ORDERS, order),
            "invert_data": invert_data,
            "invert_ecc": invert_ecc,
        }),
        CodeKind::Bch { m, t, polynomial, erased_mask, reverse_bits, align } => json!({
            "kind": "bch",
            "m": m,
            "t": t,
            "polynomial": format!("{polynomial:#x}"),
            "erased_mask": erased_mask,
            "reverse_bits": reverse_bits,
            "align": word(ALIGNS, align),
            "invert_data": invert_data,
            "invert_ecc": invert_ecc,
        }),
    }
}

/// The word for `meaning`.
fn word<T: Copy + PartialEq>(words: &[(&'static str, T)], meaning: T) -> Option<&'static str> {
    words.iter().find(|(_, of)| *of == meaning).map(|(word, _)| *word)
}
