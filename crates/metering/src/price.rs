//! Price sheets: whole numbers to money.
//!
//! Amounts are never rounded here: a price has few decimals and GB-seconds are MiB × ms / 1,024,000,
//! whose decimals end. `Decimal` holds 28 digits: amounts of up to 10,000 dollars are exact, larger
//! ones are off in the 23rd digit.

use rust_decimal::Decimal;
use serde::Deserialize;

use crate::{Error, Totals};

/// The sheets that come with Tidemill, the default first.
const BUILT_IN: [(&str, &str); 3] = [
    ("aws-2026", include_str!("../sheets/aws-2026.toml")),
    (
        "aws-2026-free-tier",
        include_str!("../sheets/aws-2026-free-tier.toml"),
    ),
    ("classic", include_str!("../sheets/classic.toml")),
];

/// What usage costs. Read from TOML; see the files in `sheets/` for the format.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceSheet {
    name: String,
    currency: String,
    granularity: Granularity,
    per_million_requests: Decimal,
    #[serde(default)]
    free: Allowance,
    compute: Vec<Tier>,
}

/// To what an attempt's time is rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Granularity {
    /// One millisecond.
    #[serde(rename = "1ms")]
    Millisecond,
    /// A tenth of a second.
    #[serde(rename = "100ms")]
    HundredMilliseconds,
}

/// What an account uses free of charge in each calendar month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Allowance {
    requests: u64,
    gb_seconds: u64,
}

/// A price that holds up to a monthly amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tier {
    /// Up to this many GB-seconds of an account's month, exclusive; the last tier has no end.
    up_to_gb_seconds: Option<u64>,
    per_gb_second: Decimal,
}

/// What something costs, before and after what a month grants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// For the requests.
    pub requests: Decimal,
    /// For memory × time.
    pub compute: Decimal,
}

impl Cost {
    /// Both together.
    #[must_use]
    pub fn total(&self) -> Decimal {
        self.requests + self.compute
    }
}

impl PriceSheet {
    /// The sheet that is used when none is named: `aws-2026`.
    ///
    /// # Panics
    /// Never: a test reads every built-in sheet.
    #[must_use]
    pub fn standard() -> Self {
        Self::named(BUILT_IN[0].0).expect("the built-in sheets are read by a test")
    }

    /// A built-in sheet: `aws-2026`, `aws-2026-free-tier` or `classic`.
    ///
    /// # Errors
    /// [`Error::UnknownSheet`].
    pub fn named(name: &str) -> Result<Self, Error> {
        let sheet = BUILT_IN.iter().find(|(known, _)| *known == name);
        let (_, text) = sheet.ok_or_else(|| Error::UnknownSheet {
            name: name.to_owned(),
            known: BUILT_IN.iter().map(|(known, _)| *known).collect(),
        })?;
        Self::from_toml(text)
    }

    /// A sheet of the user's own.
    ///
    /// # Errors
    /// [`Error::InvalidSheet`] names what is missing, unknown or out of order.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        let invalid = |reason: String| Error::InvalidSheet { reason };
        let sheet: Self = toml::from_str(text).map_err(|error| invalid(error.to_string()))?;
        if sheet.name.is_empty() || sheet.currency.len() != 3 {
            return Err(invalid(
                "it needs a name and a currency of three letters".to_owned(),
            ));
        }
        let negative = sheet.per_million_requests.is_sign_negative()
            || sheet
                .compute
                .iter()
                .any(|tier| tier.per_gb_second.is_sign_negative());
        if negative {
            return Err(invalid("a price is negative".to_owned()));
        }
        let ends: Vec<u64> = sheet
            .compute
            .iter()
            .map(|tier| tier.up_to_gb_seconds.unwrap_or(u64::MAX))
            .collect();
        if ends.last() != Some(&u64::MAX) || !ends.is_sorted_by(|a, b| a < b) {
            return Err(invalid(
                "[[compute]] tiers must ascend and the last must have no up_to_gb_seconds"
                    .to_owned(),
            ));
        }
        Ok(sheet)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The currency of its prices, ISO 4217.
    #[must_use]
    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// To what an attempt's time is rounded up.
    #[must_use]
    pub fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// The price of one request.
    #[must_use]
    pub fn per_request(&self) -> Decimal {
        self.per_million_requests / Decimal::from(1_000_000)
    }

    /// The price of one GB-second in the first tier.
    #[must_use]
    pub fn per_gb_second(&self) -> Decimal {
        self.compute[0].per_gb_second
    }

    /// GB-seconds charged: each attempt rounded up to the sheet's granularity.
    #[must_use]
    pub fn gb_seconds(&self, totals: &Totals) -> Decimal {
        // MiB × units to GiB × seconds; AWS's GB is 1,024 MB.
        let (amount, per_gb_second) = match self.granularity {
            Granularity::Millisecond => (totals.memory_mib_ms, 1_024_000),
            Granularity::HundredMilliseconds => (totals.memory_mib_100ms, 10_240),
        };
        // 96 bits of MiB × ms are 10 TiB running for 200 million years.
        let amount = i128::try_from(amount)
            .ok()
            .and_then(|amount| Decimal::try_from_i128_with_scale(amount, 0).ok());
        amount.unwrap_or(Decimal::MAX) / Decimal::from(per_gb_second)
    }

    /// Milliseconds charged: each attempt rounded up to the sheet's granularity.
    #[must_use]
    pub fn billed_ms(&self, totals: &Totals) -> u64 {
        match self.granularity {
            Granularity::Millisecond => totals.billed_ms,
            Granularity::HundredMilliseconds => totals.billed_100ms * 100,
        }
    }

    /// What `totals` cost at the first tier's price, nothing free.
    #[must_use]
    pub fn list_cost(&self, totals: &Totals) -> Cost {
        Cost {
            requests: Decimal::from(totals.requests) * self.per_request(),
            compute: self.gb_seconds(totals) * self.per_gb_second(),
        }
    }

    /// What an account's whole month costs: the allowance first, then tier by tier, counted from the
    /// first GB-second that is not free.
    #[must_use]
    pub fn month_cost(&self, totals: &Totals) -> Cost {
        let requests = totals.requests.saturating_sub(self.free.requests);
        let charged =
            (self.gb_seconds(totals) - Decimal::from(self.free.gb_seconds)).max(Decimal::ZERO);
        let mut compute = Decimal::ZERO;
        let mut from = Decimal::ZERO;
        for tier in &self.compute {
            let to = tier
                .up_to_gb_seconds
                .map_or(charged, |end| charged.min(Decimal::from(end)));
            compute += (to - from).max(Decimal::ZERO) * tier.per_gb_second;
            from = from.max(to);
        }
        Cost {
            requests: Decimal::from(requests) * self.per_request(),
            compute,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn totals(requests: u64, gb_seconds: u64) -> Totals {
        Totals {
            requests,
            memory_mib_ms: u128::from(gb_seconds) * 1_024_000,
            memory_mib_100ms: u128::from(gb_seconds) * 10_240,
            ..Totals::default()
        }
    }

    #[test]
    fn every_built_in_sheet_is_read_under_its_name() {
        for (name, _) in BUILT_IN {
            assert_eq!(PriceSheet::named(name).unwrap().name(), name);
        }
        let unknown = PriceSheet::named("aws-1999").unwrap_err().to_string();
        assert!(unknown.contains("classic"), "{unknown}");
    }

    #[test]
    fn aws_own_example_costs_what_aws_says() {
        // 3 million requests of 120 ms at 1,536 MB: AWS's page says 540,000 GB-s, of which 140,000
        // are charged, 2.33 dollars, and 0.40 dollars for 2 million requests.
        let sheet = PriceSheet::named("aws-2026-free-tier").unwrap();
        let cost = sheet.month_cost(&totals(3_000_000, 540_000));
        assert_eq!(cost.requests, decimal("0.40"));
        assert_eq!(cost.compute.round_dp(2), decimal("2.33"));
    }

    #[test]
    fn the_classic_sheet_gives_a_million_requests_and_no_compute() {
        let sheet = PriceSheet::named("classic").unwrap();
        let cost = sheet.month_cost(&totals(1_500_000, 100));
        assert_eq!(cost.requests, decimal("0.10"));
        assert_eq!(cost.compute, decimal("0.001667"));
    }

    #[test]
    fn tiers_price_each_part_of_a_month_on_its_own() {
        let sheet = PriceSheet::standard();
        let cost = sheet.month_cost(&totals(0, 16_000_000_000));
        let expected = decimal("6000000000") * decimal("0.0000166667")
            + decimal("9000000000") * decimal("0.000015")
            + decimal("1000000000") * decimal("0.0000133334");
        assert_eq!(cost.compute, expected);
    }

    #[test]
    fn a_sheet_with_an_unknown_key_or_no_last_tier_is_refused() {
        let text = include_str!("../sheets/classic.toml");
        assert!(PriceSheet::from_toml(&format!("discount = 1\n{text}")).is_err());
        assert!(PriceSheet::from_toml(&format!("{text}up_to_gb_seconds = 5\n")).is_err());
    }
}
