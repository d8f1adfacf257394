#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

const ALL: [Mask; 5] = [Mask::Numbers, Mask::Hex, Mask::Uuids, Mask::Ips, Mask::Paths];

fn masked(kinds: &[Mask], text: &str) -> String {
    Masker::new(kinds).apply(text).0.into_owned()
}

#[test]
fn each_kind_by_itself() {
    for (kind, text, expected) in [
        (Mask::Numbers, "took 12 ms, 3.5 s or 1,024 us", "took 0 ms, 0 s or 0 us"),
        (Mask::Numbers, "at 2015-10-18 18:01:48,963 on 17/06/09", "at 0 0 on 0"),
        (Mask::Numbers, "boot = -79, x=+3, range 3-7, a-1", "boot = 0, x=0, range 0, a-0"),
        (Mask::Numbers, "utf8 sha256 eth0 jk2_init ü7 x86_64", "utf8 sha256 eth0 jk2_init ü7 x86_0"),
        (Mask::Numbers, "blk_-487 job_14_0020_m_09 sshd[24200]: 512MB", "blk_0 job_0_0_m_0 sshd[0]: 0MB"),
        (Mask::Numbers, "end of it 7. Then 8, and 9: done", "end of it 0. Then 0, and 0: done"),
        (Mask::Hex, "0x1F 0xdeadBEEF 54fadb412c4e40cd cafebabe 12345678", "hex hex hex cafebabe 12345678"),
        (Mask::Hex, "0x 0xfg 1234abcdx deadbeef1 a1b2c3d", "0x 0xfg 1234abcdx hex a1b2c3d"),
        (Mask::Hex, "req-55db2d8d: id_e9746973ac57", "req-hex: id_hex"),
        (Mask::Uuids, "[instance: a015cf14-84bb-4156-a48d-7c4824ac7a9d] ok", "[instance: uuid] ok"),
        (Mask::Uuids, "xa015cf14-84bb-4156-a48d-7c4824ac7a9d", "xa015cf14-84bb-4156-a48d-7c4824ac7a9d"),
        (Mask::Uuids, "a015cf14-84bb-4156-a48d-7c4824ac7a9", "a015cf14-84bb-4156-a48d-7c4824ac7a9"),
        (Mask::Ips, "from 10.251.73.220:50010 to /10.0.0.1.", "from ip to /ip."),
        (Mask::Ips, "10.0.0.0/8 256.1.1.1 1.2.3 1.2.3.4.5 v1.2.3.4", "ip 256.1.1.1 1.2.3 1.2.3.4.5 v1.2.3.4"),
        (Mask::Ips, "fe80::1%eth0 [2001:db8::7]:443 ::1, ::ffff:1.2.3.4", "ip%eth0 [ip]:443 ip, ip"),
        (Mask::Ips, "std::vec a::b :: 18:01:48 1:2:3:4:5:6:7:8: ok", "std::vec a::b :: 18:01:48 ip: ok"),
        (Mask::Ips, "peer ipv4:10.0.0.7:443, client:203.0.113.9", "peer ipv4:ip, client:ip"),
        (Mask::Ips, "10.0.0.1:10.0.0.2 8.8.8.8/1.1.1.1 12:10.0.0.7 x::10.0.0.7", "ip:ip ip/ip 12:ip x::ip"),
        (Mask::Ips, "peer:2001:db8::1 source:fe80::1, ipv6:[::1]:443", "peer:ip source:ip, ipv6:[ip]:443"),
        (
            Mask::Ips,
            "[client]:2001:db8::7 \"peer\":2001:db8::1 (x):fe80::1 addr =:fe80::1",
            "[client]:ip \"peer\":ip (x):ip addr =:ip",
        ),
        (Mask::Ips, ":2001:db8::1 x", ":ip x"),
        (Mask::Ips, "dead:beef::cafe a::b cafe::bad std::a1::b", "ip a::b cafe::bad std::a1::b"),
        (
            Mask::Ips,
            "2001:db8:1:2:3:4:5:6:7:8 10.0.0.7x ip10.0.0.7",
            "2001:db8:1:2:3:4:5:6:7:8 10.0.0.7x ip10.0.0.7",
        ),
        (Mask::Paths, "cat /etc/hosts, ~/x.txt and ../a/b.", "cat path, path and path."),
        (Mask::Paths, "open(\"/tmp/müller/ä.log\") failed", "open(\"path\") failed"),
        (Mask::Paths, "C:\\Users\\x\\y.txt and https://example.org/a?b=1.", "path and path."),
        (Mask::Paths, "and/or 3 / 4 // / a: /", "and/or 3 / 4 // / a: /"),
    ] {
        assert_eq!(masked(&[kind], text), expected, "{kind:?}");
    }
}

#[test]
fn lines_that_differ_in_these_only_are_one() {
    let lines = |all: &[&str]| {
        let all: Vec<String> = all.iter().map(|line| masked(&ALL, line)).collect();
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:#?}");
        all[0].clone()
    };
    let expected = "0 0 0 INFO dfs.FSNamesystem: BLOCK* NameSystem.addStoredBlock: blockMap updated: ip is added to blk_0 size 0";
    assert_eq!(
        lines(&[
            "081109 204005 35 INFO dfs.FSNamesystem: BLOCK* NameSystem.addStoredBlock: blockMap updated: 10.251.73.220:50010 is added to blk_7128370237687728475 size 67108864",
            "081111 055936 28 INFO dfs.FSNamesystem: BLOCK* NameSystem.addStoredBlock: blockMap updated: 10.250.7.244:50010 is added to blk_-4875138366845786590 size 67108864",
        ]),
        expected
    );
    lines(&[
        "[pid 7] GET /v2/54fadb412c4e/servers?x=1 by 113d3a99c3da401fbd62cc2caa5b96d2 took 0.2731631 s",
        "[pid 25740] GET /v3/e97469/list by e9746973ac574c6b8a9e8857f56a7608 took 12 s",
    ]);
}

/// docs/RECORDS.md's examples.
#[test]
fn the_document_says_what_is_so() {
    let document = include_str!("../../docs/RECORDS.md");
    let section = document.split("\n## ").find(|section| section.starts_with("Masked\n")).unwrap();
    let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let kind = |word: &String| {
        let all = ["numbers", "hex", "uuids", "ips", "paths"];
        ALL[all.iter().position(|one| one == word).unwrap()]
    };
    let rows: Vec<Vec<Vec<String>>> = section
        .lines()
        .skip_while(|line| !line.starts_with("| kinds |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').map(words).collect())
        .collect();
    assert!(rows.len() >= 8);
    for row in rows {
        let kinds: Vec<Mask> = row[1].iter().map(kind).collect();
        assert_eq!(masked(&kinds, &row[2][0]), row[3][0]);
    }
}

#[test]
fn nothing_asked_nothing_changed() {
    let text = "7 of 10.0.0.1 at /x";
    assert_eq!(Masker::new(&[]).apply(text), (Cow::Borrowed(text), 0));
    assert!(matches!(Masker::new(&ALL).apply("only words"), (Cow::Borrowed(_), 0)));
    assert_eq!(Masker::new(&ALL).apply(text), (Cow::Borrowed("0 of ip at path"), 3));
}

/// Text like that of logs, and any other.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[0-9]{1,12}",
        "[0-9a-f]{1,40}",
        "[ .:,;/\\\\_=\\-+~x\\[\\]()\"]{1,4}",
        "[a-zA-Zäß漢]{1,6}",
        Just("10.1.2.3".to_owned()),
        Just("fe80::1".to_owned()),
        Just("a015cf14-84bb-4156-a48d-7c4824ac7a9d".to_owned()),
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// Whatever the text: what was not replaced stands there as it was, in order; the words stand for parts
    /// that have something in them; and what is masked is not masked again into something else.
    #[test]
    fn only_parts_are_replaced(text in text(), kinds in prop::sample::subsequence(ALL.to_vec(), 0..=5)) {
        let masker = Masker::new(&kinds);
        let (once, parts) = masker.apply(&text);
        prop_assert_eq!(parts == 0, matches!(once, Cow::Borrowed(_)));
        prop_assert!(kinds.is_empty() <= (once == text));
        if kinds == [Mask::Numbers] {
            let letters = |t: &str| t.chars().filter(|c| !c.is_ascii_digit() && !".,:-/+".contains(*c)).collect::<String>();
            prop_assert_eq!(letters(&once), letters(&text));
            // A digit that is left is part of a name.
            let left = once.as_bytes().windows(2).filter(|w| w[1].is_ascii_digit() && w[1] != b'0');
            for pair in left {
                prop_assert!(is_word(pair[0]), "{:?}", once);
            }
        }
        if !kinds.contains(&Mask::Paths) {
            let others = |t: &str| t.chars().filter(|c| !c.is_ascii()).collect::<String>();
            prop_assert_eq!(others(&once), others(&text), "only paths have letters of other scripts");
        }
    }

    /// Two texts that differ in the digits of a number only are one.
    #[test]
    fn digits_make_no_difference(before in "[a-z ]{0,8}[ =\\[(_]", a in "[0-9]{1,30}", b in "[0-9]{1,30}", after in "[ \\])a-z]{0,8}") {
        let line = |number: &str| masked(&[Mask::Numbers], &format!("{before}{number}{after}"));
        prop_assert_eq!(line(&a), line(&b));
    }
}

thread_local! {
    static LOOKED_AT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

pub(super) fn looked_at(bytes: usize) {
    LOOKED_AT.set(LOOKED_AT.get() + bytes);
}

/// Whatever is repeated, no byte is looked at more than some dozens of times: nothing is looked through
/// again and again.
#[test]
fn the_cost_is_linear() {
    let worst = [
        "1.",
        "a:",
        "abcdef01",
        "/",
        "1",
        "::",
        "f",
        "./",
        "a015cf14-84bb-",
        "-",
        "http:/",
        "10.1.2.",
        "ü/",
        "0x",
        "=/",
        "=/.",
        "a/",
        " ./",
        "x1",
        "f:f",
        ".:",
        "a1:",
        "1:a ",
        "C:\\",
        "=~/",
        "_1",
        "+",
    ];
    for one in worst {
        for other in worst {
            let text = [one, other].concat().repeat(2_000);
            LOOKED_AT.set(0);
            Masker::new(&ALL).apply(&text);
            let each = LOOKED_AT.get() as f64 / text.len() as f64;
            assert!(each < 64.0, "{one}{other}: each byte {each} times");
        }
    }
}
