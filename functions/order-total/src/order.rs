//! One order and its total, exactly.

use serde::Deserialize;
use serde_json::Number;

/// An order as it is published. Members beyond these are ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct Order {
    /// The order's number, if it has one.
    #[serde(default)]
    pub(crate) order: Option<String>,
    pub(crate) items: Vec<Item>,
}

/// So many of one thing.
#[derive(Debug, Deserialize)]
pub(crate) struct Item {
    /// For one, with at most two decimals.
    price: Number,
    quantity: u32,
}

/// Why an order has no total.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OrderError {
    #[error("price {0} is not an amount in whole cents")]
    Price(String),
    #[error("the total does not fit")]
    Overflow,
}

impl Order {
    /// The sum of its items, in cents.
    pub(crate) fn total_cents(&self) -> Result<i64, OrderError> {
        self.items.iter().try_fold(0_i64, |sum, item| {
            let cents = cents(&item.price.to_string())?;
            let line = cents.checked_mul(i64::from(item.quantity));
            line.and_then(|line| sum.checked_add(line))
                .ok_or(OrderError::Overflow)
        })
    }
}

/// Reads a price from its digits, so that no binary fraction comes in between.
fn cents(price: &str) -> Result<i64, OrderError> {
    let wrong = || OrderError::Price(price.to_owned());
    let (whole, fraction) = price.split_once('.').unwrap_or((price, ""));
    let sign = if whole.starts_with('-') { -1 } else { 1 };
    if fraction.len() > 2 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong());
    }
    let whole: i64 = whole.parse().map_err(|_| wrong())?;
    let fraction: i64 = format!("{fraction:0<2}").parse().map_err(|_| wrong())?;
    whole
        .checked_mul(100)
        .and_then(|cents| cents.checked_add(sign * fraction))
        .ok_or(OrderError::Overflow)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(json: &str) -> Result<i64, OrderError> {
        serde_json::from_str::<Order>(json).unwrap().total_cents()
    }

    #[test]
    fn sums_are_exact() {
        let tenth = r#"{"price":0.1,"quantity":1}"#;
        let order = format!(r#"{{"items":[{}]}}"#, [tenth; 3].join(","));
        assert_eq!(total(&order), Ok(30));
        let order = r#"{"items":[{"price":2.59,"quantity":3},{"price":-0.5,"quantity":1}]}"#;
        assert_eq!(total(order), Ok(727));
        assert_eq!(total(r#"{"items":[]}"#), Ok(0));
    }

    #[test]
    fn a_price_in_fractions_of_a_cent_is_refused() {
        let order = r#"{"items":[{"price":0.125,"quantity":1}]}"#;
        assert_eq!(total(order), Err(OrderError::Price("0.125".to_owned())));
    }

    #[test]
    fn a_total_that_does_not_fit_is_refused() {
        let order = r#"{"items":[{"price":90000000000000000,"quantity":4000000000}]}"#;
        assert_eq!(total(order), Err(OrderError::Overflow));
    }
}
