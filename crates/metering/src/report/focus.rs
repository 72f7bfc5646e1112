//! A report in the columns of FOCUS 1.0 (FinOps Open Cost and Usage Specification, June 2024).

use clock::Timestamp;
use rust_decimal::Decimal;
use time::macros::format_description;

use super::csv::write_row;
use crate::{Cost, Grouping, Report, Span};

const PROVIDER: &str = "Tidemill";
const SERVICE: &str = "Tidemill Functions";

/// The columns of FOCUS 1.0 in the order of its names.
const COLUMNS: [&str; 43] = [
    "AvailabilityZone",
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountCategory",
    "CommitmentDiscountId",
    "CommitmentDiscountName",
    "CommitmentDiscountStatus",
    "CommitmentDiscountType",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "SkuId",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "Tags",
];

/// One charge: everything that differs between rows.
struct Charge<'a> {
    span: Span,
    account: &'a str,
    sku: &'static str,
    cost: Decimal,
    kind: Kind<'a>,
}

enum Kind<'a> {
    Usage {
        function: &'a str,
        quantity: Decimal,
        unit: &'static str,
        unit_price: Decimal,
    },
    Credit,
}

pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    write_row(&mut out, COLUMNS);
    let sheet = report.sheet();
    for line in report.lines(Grouping::Day) {
        let usage = |sku, cost, quantity, unit, unit_price| Charge {
            span: line.span,
            account: &line.account,
            sku,
            cost,
            kind: Kind::Usage {
                function: &line.function,
                quantity,
                unit,
                unit_price,
            },
        };
        let Cost { requests, compute } = line.cost;
        let count = Decimal::from(line.totals.requests);
        for charge in [
            usage("requests", requests, count, "Requests", sheet.per_request()),
            usage(
                "compute",
                compute,
                line.gb_seconds,
                "GB-Seconds",
                sheet.per_gb_second(),
            ),
        ] {
            write_row(&mut out, row(report, &charge));
        }
    }
    for adjustment in report.adjustments() {
        let Cost { requests, compute } = adjustment.cost;
        for (sku, cost) in [("requests", requests), ("compute", compute)] {
            if !cost.is_zero() {
                let charge = Charge {
                    span: adjustment.span,
                    account: &adjustment.account,
                    sku,
                    cost,
                    kind: Kind::Credit,
                };
                write_row(&mut out, row(report, &charge));
            }
        }
    }
    out
}

/// The fields of one row, in the order of [`COLUMNS`].
fn row(report: &Report, charge: &Charge<'_>) -> Vec<String> {
    let month = Span::month(charge.span.start);
    COLUMNS
        .into_iter()
        .map(|column| field(column, report, charge, month))
        .collect()
}

fn field(column: &str, report: &Report, charge: &Charge<'_>, month: Span) -> String {
    let sheet = report.sheet();
    let number = |amount: Decimal| amount.normalize().to_string();
    let of_usage = |field: &dyn Fn(&str, Decimal, &str, Decimal) -> String| match &charge.kind {
        Kind::Usage {
            function,
            quantity,
            unit,
            unit_price,
        } => field(function, *quantity, unit, *unit_price),
        Kind::Credit => String::new(),
    };
    match column {
        "BilledCost" | "EffectiveCost" | "ContractedCost" | "ListCost" => number(charge.cost),
        "BillingAccountId" => charge.account.to_owned(),
        "BillingCurrency" => sheet.currency().to_owned(),
        "BillingPeriodStart" => moment(month.start),
        "BillingPeriodEnd" => moment(month.end),
        "ChargePeriodStart" => moment(charge.span.start),
        "ChargePeriodEnd" => moment(charge.span.end),
        "ChargeCategory" => match charge.kind {
            Kind::Usage { .. } => "Usage".to_owned(),
            Kind::Credit => "Credit".to_owned(),
        },
        "ChargeFrequency" => match charge.kind {
            Kind::Usage { .. } => "Usage-Based".to_owned(),
            Kind::Credit => "Recurring".to_owned(),
        },
        "ChargeDescription" => match charge.kind {
            Kind::Usage { function, .. } => format!("{} of function {function}", charge.sku),
            Kind::Credit => format!("Free and volume {} of the month", charge.sku),
        },
        "ConsumedQuantity" | "PricingQuantity" => of_usage(&|_, quantity, _, _| number(quantity)),
        "ConsumedUnit" | "PricingUnit" => of_usage(&|_, _, unit, _| unit.to_owned()),
        "ListUnitPrice" | "ContractedUnitPrice" => of_usage(&|_, _, _, price| number(price)),
        "PricingCategory" => of_usage(&|_, _, _, _| "Standard".to_owned()),
        "InvoiceIssuerName" | "ProviderName" | "PublisherName" => PROVIDER.to_owned(),
        "ResourceId" | "ResourceName" => of_usage(&|function, _, _, _| function.to_owned()),
        "ResourceType" => of_usage(&|_, _, _, _| "Function".to_owned()),
        "ServiceCategory" => "Compute".to_owned(),
        "ServiceName" => SERVICE.to_owned(),
        "SkuId" => charge.sku.to_owned(),
        "SkuPriceId" => format!("{}/{}", sheet.name(), charge.sku),
        // The rest may be empty and is: no zones, commitments, sub-accounts or tags here.
        _ => String::new(),
    }
}

/// A moment as FOCUS writes it: whole seconds, UTC.
fn moment(at: Timestamp) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    at.to_utc()
        .format(&format)
        .expect("every component of the format is in the date")
}
