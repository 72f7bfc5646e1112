use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Filter, FilterError};

fn matches(pattern: Value, event: Value) -> bool {
    Filter::compile(&pattern.to_string())
        .unwrap()
        .matches(&event)
}

fn refused(pattern: Value) -> String {
    Filter::compile(&pattern.to_string())
        .unwrap_err()
        .to_string()
}

#[test]
fn the_examples_of_the_user_guide_match_as_documented() {
    // "Comparison operators for use in event patterns", EventBridge user guide, 2026.
    let event = json!({
        "version": "0", "id": "3e3c153a-8339-4e30-8c35-687ebef853fe",
        "detail-type": "EC2 Instance Launch Successful", "source": "aws.autoscaling",
        "account": "123456789012", "time": "2015-11-11T21:31:47Z", "region": "us-east-1",
        "resources": ["arn:one", "arn:two"],
        "detail": {
            "eventVersion": "", "responseElements": null, "state": "initializing",
            "c-count": 5, "d-count": 3, "x-limit": 3.018e2, "FileName": "dir/image.PNG",
            "sourceIPAddress": "10.0.0.77", "EventBusArn": "arn:aws:events:us-east-1:1:event-bus/x"
        }
    });
    for pattern in [
        json!({"detail": {"eventVersion": [""]}}),
        json!({"detail": {"responseElements": [null]}}),
        json!({"time": [{"prefix": "2015-11-11"}]}),
        json!({"detail": {"state": [{"prefix": {"equals-ignore-case": "INIT"}}]}}),
        json!({"detail": {"FileName": [{"suffix": ".PNG"}]}}),
        json!({"detail": {"FileName": [{"suffix": {"equals-ignore-case": ".png"}}]}}),
        json!({"detail": {"state": [{"anything-but": "running"}]}}),
        json!({"detail": {"x-limit": [{"anything-but": [100, 200, 300]}]}}),
        json!({"detail": {"state": [{"anything-but": ["stopped", "overloaded"]}]}}),
        json!({"detail": {"state": [{"anything-but": {"prefix": "run"}}]}}),
        json!({"detail": {"state": [{"anything-but": {"suffix": ["ed", "ly"]}}]}}),
        json!({"detail": {"state": [{"anything-but": {"equals-ignore-case": ["RUNNING"]}}]}}),
        json!({"detail": {"FileName": [{"anything-but": {"wildcard": "*/lib/*"}}]}}),
        json!({"detail": {"c-count": [{"numeric": [">", 0, "<=", 5]}],
                          "d-count": [{"numeric": ["<", 10]}],
                          "x-limit": [{"numeric": ["=", 301.8]}]}}),
        json!({"detail": {"sourceIPAddress": [{"cidr": "10.0.0.0/24"}]}}),
        json!({"detail": {"state": [{"exists": true}]}}),
        json!({"detail": {"c-count": [{"exists": true}], "e-count": [{"exists": false}]}}),
        json!({"detail-type": [{"equals-ignore-case": "ec2 instance LAUNCH successful"}]}),
        json!({"detail": {"EventBusArn": [{"wildcard": "arn:aws:events:us-east-1:*:event-bus/*"}]}}),
        json!({"resources": ["arn:two", "arn:three"]}),
        json!({"detail": {"$or": [{"c-count": [{"numeric": [">", 10]}]},
                                  {"d-count": [{"numeric": ["<", 10]}]}]}}),
        json!({"source": ["aws.ec2", "aws.autoscaling"], "account": ["123456789012"]}),
    ] {
        assert!(matches(pattern.clone(), event.clone()), "{pattern}");
    }
    for pattern in [
        json!({"detail": {"eventVersion": [null]}}),
        json!({"detail": {"responseElements": [""]}}),
        json!({"detail": {"responseElements": [{"exists": false}]}}),
        json!({"time": [{"prefix": "2016"}]}),
        json!({"detail": {"FileName": [{"suffix": ".png"}]}}),
        json!({"detail": {"state": [{"anything-but": {"prefix": "init"}}]}}),
        json!({"detail": {"missing": [{"anything-but": "x"}]}}),
        json!({"detail": {"c-count": [{"numeric": [">", 0, "<", 5]}]}}),
        json!({"detail": {"c-count": ["5"]}}),
        json!({"detail": {"c-count": [5.0]}}),
        json!({"detail": {"sourceIPAddress": [{"cidr": "10.0.1.0/24"}]}}),
        json!({"detail": [{"exists": true}]}),
        json!({"resources": ["arn:three"]}),
        json!({"source": ["aws.autoscaling"], "account": ["000000000000"]}),
    ] {
        assert!(!matches(pattern.clone(), event.clone()), "{pattern}");
    }
}

#[test]
fn what_lies_under_an_absent_parent_is_absent() {
    let pattern = json!({"a": {"b": {"c": [{"exists": false}]}}});
    assert!(matches(pattern.clone(), json!({})));
    assert!(matches(pattern.clone(), json!({"a": {"b": 1}})));
    assert!(!matches(pattern, json!({"a": {"b": {"c": 1}}})));
}

#[test]
fn fields_of_one_pattern_object_hold_in_one_element_of_an_array() {
    let pattern = json!({"items": {"kind": ["book"], "price": [{"numeric": ["<", 10]}]}});
    let book = |price| json!({"kind": "book", "price": price});
    let toy = json!({"kind": "toy", "price": 5});
    assert!(matches(pattern.clone(), json!({"items": [toy, book(7)]})));
    assert!(!matches(pattern, json!({"items": [toy, book(70)]})));
}

#[test]
fn a_pattern_that_says_nothing_is_refused_where_it_does() {
    assert!(matches!(
        Filter::compile("{").unwrap_err(),
        FilterError::NotJson(_)
    ));
    assert!(refused(json!([])).contains("$: a pattern is an object"));
    assert!(refused(json!({"a": {"b": "x"}})).contains("$.a.b: use an object"));
    assert!(refused(json!({"a": []})).contains("$.a: an empty array"));
    assert!(refused(json!({"a": [{"regex": "x"}]})).contains("$.a[0].regex: the operators are"));
    assert!(refused(json!({"a": [{"numeric": [">", "0"]}]})).contains("$.a[0].numeric"));
    assert!(refused(json!({"a": [1, {"exists": "yes"}]})).contains("$.a[1].exists"));
    assert!(refused(json!({"a": [{"prefix": "x", "suffix": "y"}]})).contains("exactly one"));
    assert!(refused(json!({"a": [{"wildcard": "a**b"}]})).contains("two stars"));
    assert!(refused(json!({"a": [{"cidr": "10.0.0.0/33"}]})).contains("address block"));
    assert!(refused(json!({"$or": [{"a": [1]}]})).contains("at least two"));
    let long = format!(r#"{{"a": ["{}"]}}"#, "x".repeat(5_000));
    assert!(matches!(
        Filter::compile(&long).unwrap_err(),
        FilterError::TooLong { .. }
    ));
}

#[test]
fn a_pattern_nested_without_end_is_refused() {
    let deep = format!("{}[1]{}", r#"{"a":"#.repeat(100), "}".repeat(100));
    assert!(Filter::compile(&deep).is_err());
}

proptest! {
    #[test]
    fn a_wildcard_agrees_with_the_obvious_matcher(
        pattern in "[ab]{0,3}(\\*[ab]{1,2}){0,3}\\*?", text in "[ab]{0,10}",
    ) {
        let pattern_json = json!({"t": [{"wildcard": pattern}]});
        let expected = obvious(pattern.as_bytes(), text.as_bytes());
        prop_assert_eq!(matches(pattern_json, json!({"t": text})), expected);
    }

    #[test]
    fn a_value_matches_itself_and_not_its_negation(text in "\\PC{0,20}", number in any::<i64>()) {
        for value in [json!(text), json!(number), Value::Null, json!(true)] {
            let event = json!({"f": value});
            let itself = matches(json!({"f": [value]}), event.clone());
            prop_assert!(itself);
            let negation = matches(json!({"f": [{"anything-but": value}]}), event);
            prop_assert!(!negation);
        }
    }

    #[test]
    fn no_pattern_text_makes_the_compiler_panic(text in "\\PC{0,60}") {
        let _ = Filter::compile(&text);
    }
}

fn obvious(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|at| obvious(rest, &text[at..])),
        Some((letter, rest)) => text.first() == Some(letter) && obvious(rest, &text[1..]),
    }
}
