//! IAM policy documents: what a role may do.
//!
//! Source: "Grammar of the IAM JSON policy language" and "Policy evaluation logic", AWS IAM user guide,
//! 2026. Of the grammar there are `Effect`, `Action` and `Resource` with their wildcards; `NotAction`,
//! `NotResource`, `Principal`, `Condition` and policy variables are refused by name.

mod pattern;

use serde::Deserialize;
use serde_json::{Map, Value};

use pattern::Pattern;

/// The one action of the Kafka port that is asked for.
const CONNECT: &str = "kafka-cluster:Connect";
/// What [`Policy::ordinary`] allows.
const ORDINARY: &str = include_str!("policy/ordinary.json");

/// Statements that allow and deny.
#[derive(Clone, Debug)]
pub struct Policy {
    statements: Vec<Statement>,
}

#[derive(Clone, Debug)]
struct Statement {
    effect: Effect,
    actions: Vec<Pattern>,
    resources: Vec<Pattern>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

/// What a policy says of an action on a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    /// A statement denies it.
    Denied,
    /// No statement allows it.
    NotAllowed,
}

/// A document that cannot be applied. Reject.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It is no JSON object.
    #[error("the policy is not a JSON object")]
    NotJson(#[source] serde_json::Error),
    /// A member is missing, unknown, or not applied here.
    #[error("{place}: {reason}")]
    Refused {
        /// The policy, or the statement by its number from 1.
        place: String,
        /// What is wrong.
        reason: String,
    },
}

impl Policy {
    /// Reads a document.
    ///
    /// # Errors
    /// [`PolicyError`] names the statement and the member that cannot be applied.
    pub fn parse(document: &str) -> Result<Self, PolicyError> {
        let members: Map<String, Value> =
            serde_json::from_str(document).map_err(PolicyError::NotJson)?;
        let refused = |reason: String| PolicyError::Refused {
            place: "policy".to_owned(),
            reason,
        };
        for (name, value) in &members {
            match name.as_str() {
                "Statement" => {}
                "Id" if value.is_string() => {}
                "Version" if value == "2012-10-17" || value == "2008-10-17" => {}
                "Version" => return Err(refused("Version is not 2012-10-17".to_owned())),
                other => return Err(refused(format!("{other} is not supported"))),
            }
        }
        let statements = match members.get("Statement") {
            Some(Value::Array(statements)) => statements.iter().collect(),
            Some(statement @ Value::Object(_)) => vec![statement],
            Some(_) | None => {
                return Err(refused(
                    "Statement is neither a list nor an object".to_owned(),
                ));
            }
        };
        let numbered = statements.into_iter().zip(1..);
        let statements = numbered.map(|(statement, number)| {
            Statement::parse(statement).map_err(|reason| PolicyError::Refused {
                place: format!("statement {number}"),
                reason,
            })
        });
        Ok(Self {
            statements: statements.collect::<Result<_, _>>()?,
        })
    }

    /// What roles may do that have no policy of their own: read, write, delete and list objects, invoke
    /// functions and connect to Kafka; nothing that changes what is deployed, who is notified or which
    /// buckets there are.
    #[must_use]
    pub fn ordinary() -> Self {
        Self::parse(ORDINARY).expect("it is ours, and tested")
    }

    pub(crate) fn verdict(&self, action: &str, resource: &str) -> Verdict {
        let of = |effect| {
            let mut statements = self.statements.iter();
            statements.any(|it| it.effect == effect && it.speaks_of(action, resource))
        };
        match (of(Effect::Deny), of(Effect::Allow)) {
            (true, _) => Verdict::Denied,
            (false, true) => Verdict::Allowed,
            (false, false) => Verdict::NotAllowed,
        }
    }
}

impl Statement {
    fn parse(statement: &Value) -> Result<Self, String> {
        let members = statement.as_object().ok_or("it is not an object")?;
        for (name, value) in members {
            match name.as_str() {
                "Effect" | "Action" | "Resource" => {}
                "Sid" if value.is_string() => {}
                other => return Err(format!("{other} is not supported")),
            }
        }
        let effect = members.get("Effect").ok_or("Effect is missing")?;
        let effect = Effect::deserialize(effect).map_err(|_| "Effect is neither Allow nor Deny")?;
        let actions = texts(members, "Action")?;
        for action in &actions {
            check_action(action)?;
        }
        let resources = texts(members, "Resource")?;
        if let Some(variable) = resources.iter().find(|text| text.contains("${")) {
            return Err(format!("variables, as in {variable}, are not supported"));
        }
        let actions = actions.iter().map(|text| text.to_ascii_lowercase());
        Ok(Self {
            effect,
            actions: actions.map(Pattern::new).collect(),
            resources: resources.into_iter().map(Pattern::new).collect(),
        })
    }

    fn speaks_of(&self, action: &str, resource: &str) -> bool {
        // Actions are compared without regard to case, resources are not.
        let action = action.to_ascii_lowercase();
        self.actions.iter().any(|pattern| pattern.matches(&action))
            && self.resources.iter().any(|it| it.matches(resource))
    }
}

/// Refuses what has no form of an action, and what would be expected to tell topics apart.
fn check_action(action: &str) -> Result<(), String> {
    let Some((service, _)) = action.split_once(':') else {
        return match action {
            "*" => Ok(()),
            _ => Err(format!("Action {action} is not SERVICE:ACTION")),
        };
    };
    let pattern = Pattern::new(action.to_ascii_lowercase());
    let is_kafka = service.eq_ignore_ascii_case("kafka-cluster");
    match is_kafka && !pattern.matches(&CONNECT.to_ascii_lowercase()) {
        true => Err(format!(
            "Action {action} is not supported: the Kafka port asks for {CONNECT} only"
        )),
        false => Ok(()),
    }
}

/// The member's text or texts, at least one.
fn texts(members: &Map<String, Value>, name: &str) -> Result<Vec<String>, String> {
    let value = members.get(name).ok_or(format!("{name} is missing"))?;
    let texts = match value {
        Value::Array(values) => values.iter().map(text_of).collect(),
        value => text_of(value).map(|text| vec![text]),
    };
    let texts: Option<Vec<String>> = texts;
    let texts = texts.filter(|texts| !texts.is_empty());
    texts.ok_or(format!("{name} is neither a text nor a list of texts"))
}

fn text_of(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(document: &str) -> String {
        Policy::parse(document).unwrap_err().to_string()
    }

    #[test]
    fn a_denial_outweighs_what_is_allowed() {
        let policy = Policy::parse(
            r#"{"Version": "2012-10-17", "Id": "p", "Statement": [
                {"Sid": "a", "Effect": "Allow", "Action": ["s3:Get*", "S3:putobject"],
                 "Resource": ["arn:aws:s3:::in/*", "arn:aws:s3:::out-?/*"]},
                {"Effect": "Deny", "Action": "*", "Resource": "arn:aws:s3:::in/private/*"}]}"#,
        )
        .unwrap();
        let verdict = |action, resource| policy.verdict(action, resource);
        assert_eq!(
            verdict("s3:GetObject", "arn:aws:s3:::in/a"),
            Verdict::Allowed
        );
        assert_eq!(
            verdict("s3:PutObject", "arn:aws:s3:::out-1/a/b"),
            Verdict::Allowed
        );
        assert_eq!(
            verdict("s3:GetObject", "arn:aws:s3:::in/private/a"),
            Verdict::Denied
        );
        assert_eq!(
            verdict("s3:GetObject", "arn:aws:s3:::IN/a"),
            Verdict::NotAllowed
        );
        assert_eq!(
            verdict("s3:GetObject", "arn:aws:s3:::out-10/a"),
            Verdict::NotAllowed
        );
        assert_eq!(
            verdict("s3:DeleteObject", "arn:aws:s3:::in/a"),
            Verdict::NotAllowed
        );
    }

    #[test]
    fn what_could_not_be_applied_is_refused_by_name() {
        let statement = |members: &str| format!(r#"{{"Statement": [{{{members}}}]}}"#);
        let table = [
            (
                r#""Effect": "Allow", "NotAction": "s3:*", "Resource": "*""#,
                "NotAction",
            ),
            (
                r#""Effect": "Allow", "Action": "s3:*", "NotResource": "*""#,
                "NotResource",
            ),
            (
                r#""Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": {}"#,
                "Condition",
            ),
            (
                r#""Effect": "Allow", "Action": "s3:*", "Resource": "*", "Principal": "*""#,
                "Principal",
            ),
            (
                r#""Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::a/${aws:username}""#,
                "variables",
            ),
            (
                r#""Effect": "Deny", "Action": "kafka-cluster:ReadData", "Resource": "*""#,
                "kafka-cluster:Connect only",
            ),
            (
                r#""Effect": "allow", "Action": "s3:*", "Resource": "*""#,
                "Effect",
            ),
            (
                r#""Effect": "Allow", "Action": [], "Resource": "*""#,
                "Action",
            ),
            (
                r#""Effect": "Allow", "Action": "GetObject", "Resource": "*""#,
                "SERVICE:ACTION",
            ),
            (
                r#""Effect": "Allow", "Action": "s3:*""#,
                "Resource is missing",
            ),
        ];
        for (members, named) in table {
            let text = refused(&statement(members));
            assert!(
                text.starts_with("statement 1: ") && text.contains(named),
                "{text}"
            );
        }
        assert!(refused("[]").contains("not a JSON object"));
        assert!(refused(r#"{"Version": "2013"}"#).contains("Version"));
        assert!(refused(r#"{"Version": "2012-10-17"}"#).contains("Statement"));
    }

    #[test]
    fn the_ordinary_policy_is_for_data_and_for_nothing_that_is_deployed() {
        let policy = Policy::ordinary();
        for action in [
            "s3:GetObject",
            "s3:GetObjectVersion",
            "s3:PutObjectTagging",
            "s3:DeleteObject",
            "s3:ListBucket",
            "s3:ListAllMyBuckets",
            "s3:AbortMultipartUpload",
            "lambda:InvokeFunction",
            CONNECT,
        ] {
            assert_eq!(
                policy.verdict(action, "arn:x"),
                Verdict::Allowed,
                "{action}"
            );
        }
        for action in [
            "s3:CreateBucket",
            "s3:DeleteBucket",
            "s3:PutBucketNotification",
            "s3:PutLifecycleConfiguration",
            "lambda:CreateFunction",
            "lambda:UpdateFunctionCode",
            "lambda:GetFunction",
            "lambda:AddPermission",
            "iam:PassRole",
        ] {
            assert_eq!(
                policy.verdict(action, "arn:x"),
                Verdict::NotAllowed,
                "{action}"
            );
        }
    }
}
