use std::collections::BTreeMap;

use clock::Timestamp;
use event_log::{Offset, Partition};
use proptest::prelude::*;

use super::*;
use crate::testing::{START, usage, usages};
use crate::{Fold, UsageRange, UsageRecord};

/// Bills `usage` in settlements of the given sizes, all out of one partition.
fn bill(usage: &[UsageRecord], sizes: &[usize]) -> Vec<BillingRecord> {
    let mut bills = Vec::new();
    let mut sizes = sizes.iter().copied();
    let mut from = 0;
    while from < usage.len() {
        let to = (from + sizes.next().unwrap_or(usage.len()).max(1)).min(usage.len());
        let mut fold = Fold::default();
        for record in &usage[from..to] {
            fold.add(record).unwrap();
        }
        let range = UsageRange {
            partition: Partition::new(0),
            from: Offset::new(from as u64),
            to: Offset::new(to as u64),
        };
        bills.extend(
            fold.groups()
                .map(|(key, group)| BillingRecord::new(range, key, group)),
        );
        from = to;
    }
    bills
}

fn report(bills: Vec<BillingRecord>, range: Option<Span>, sheet: &str) -> Report {
    Report::from_billing(bills, range, PriceSheet::named(sheet).unwrap())
}

fn every_form(report: &Report) -> Vec<String> {
    [Grouping::Function, Grouping::Day, Grouping::Window]
        .into_iter()
        .flat_map(|grouping| {
            [
                report.to_table(grouping),
                report.to_csv(grouping),
                report.to_json(grouping),
            ]
        })
        .chain([report.to_focus()])
        .collect()
}

proptest! {
    #[test]
    fn m2_reports_over_a_range_equal_the_fold_of_usage_over_it(
        usage in usages(60),
        sizes in prop::collection::vec(1_usize..20, 0..10),
        from in 0_i64..5,
        hours in 1_i64..5,
    ) {
        let start = Span::billing_window(Timestamp::from_millis(START + from * 3_600_000)).start;
        let end = Timestamp::from_millis(start.as_millis() + hours * 3_600_000);
        let range = Span { start, end };
        // Counted here by hand, so that the fold is not its own witness.
        let mut expected: BTreeMap<String, (u64, u64, u64, u128)> = BTreeMap::new();
        for record in usage.iter().filter(|record| range.contains(record.ended_at)) {
            let sum = expected.entry(record.function.clone()).or_default();
            if record.outcome != crate::UsageOutcome::Void {
                sum.0 += 1;
                sum.1 += record.duration_us;
                sum.2 += record.billed_ms;
                sum.3 += u128::from(record.billed_ms) * u128::from(record.memory_mib);
            }
        }
        let report = report(bill(&usage, &sizes), Some(range), "aws-2026");
        let lines = report.lines(Grouping::Function);
        let found: BTreeMap<_, _> = lines
            .iter()
            .map(|line| {
                let totals = line.totals;
                let charged = totals.invocations.charged();
                let sums = (charged, totals.duration_us, totals.billed_ms, totals.memory_mib_ms);
                (line.function.clone(), sums)
            })
            .collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_split_into_settlements_has_the_same_sums(
        usage in usages(60),
        sizes in prop::collection::vec(1_usize..20, 0..10),
    ) {
        let split = report(bill(&usage, &sizes), None, "classic");
        let whole = report(bill(&usage, &[]), None, "classic");
        prop_assert_eq!(every_form(&split), every_form(&whole));
    }

    #[test]
    fn lines_and_adjustments_add_up_to_the_total_however_grouped(usage in usages(60)) {
        for sheet in ["aws-2026", "aws-2026-free-tier", "classic"] {
            let report = report(bill(&usage, &[7]), None, sheet);
            for grouping in [Grouping::Function, Grouping::Day, Grouping::Window] {
                let lines = report.lines(grouping).into_iter().map(|line| line.cost);
                let adjustments = report.adjustments().into_iter().map(|it| it.cost);
                let sum: Decimal = lines.chain(adjustments).map(|cost| cost.total()).sum();
                prop_assert_eq!(sum.normalize(), report.cost().total().normalize());
            }
        }
    }
}

#[test]
fn m3_a_republished_report_is_byte_identical() {
    let usage: Vec<UsageRecord> = (0..40)
        .map(|n| UsageRecord {
            function: format!("f{}", n % 3),
            duration_us: 1_000 * n,
            ended_at: Timestamp::from_millis(START + 500_000 * n.cast_signed()),
            ..usage(n)
        })
        .collect();
    let bills = bill(&usage, &[3, 9, 1]);
    let first = every_form(&report(bills.clone(), None, "aws-2026"));
    // Read again: in another order, and with every bill delivered twice.
    let mut again = bills.clone();
    again.extend(bills.into_iter().rev());
    assert_eq!(every_form(&report(again, None, "aws-2026")), first);
}

#[test]
fn the_table_reads_like_this() {
    let usage = [
        UsageRecord {
            function: "resize".to_owned(),
            memory_mib: 512,
            duration_us: 120_000,
            billed_ms: 120,
            ..usage(1)
        },
        UsageRecord {
            function: "enrich".to_owned(),
            outcome: crate::UsageOutcome::Timeout,
            memory_mib: 128,
            duration_us: 3_000_000,
            billed_ms: 3_000,
            ..usage(2)
        },
    ];
    let table = report(bill(&usage, &[]), None, "classic").to_table(Grouping::Function);
    let expected = "\
Bill from 2026-11-20T22:00:00.000Z to 2026-11-20T23:00:00.000Z, price sheet classic

FROM                      ACCOUNT       FUNCTION           INVOCATIONS  FAILED  VOID  REQUESTS  BILLED MS  GB-SECONDS   REQUESTS USD   COMPUTE USD     TOTAL USD
2026-11-20T22:00:00.000Z  000000000000  enrich                       1       1     0         1       3000    0.375000   0.0000002000  0.0000062512  0.0000064512
2026-11-20T22:00:00.000Z  000000000000  resize                       1       0     0         1        200    0.100000   0.0000002000  0.0000016670  0.0000018670
2026-11-20T22:00:00.000Z  000000000000  (free and volume)                                                     -0.0000004000  0.0000000000 -0.0000004000
TOTAL                                                                2       1     0         2       3200    0.475000   0.0000000000  0.0000079182  0.0000079182
";
    let words = |text: &str| -> Vec<Vec<String>> {
        text.lines()
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .collect()
    };
    assert_eq!(words(&table), words(expected), "{table}");
    let aligned: Vec<usize> = table
        .lines()
        .skip(2)
        .map(|line| line.chars().count())
        .collect();
    assert!(aligned.windows(2).all(|pair| pair[0] == pair[1]), "{table}");
}

#[test]
fn every_focus_row_has_every_column_and_the_costs_add_up() {
    let usage: Vec<UsageRecord> = (0..5).map(usage).collect();
    let report = report(bill(&usage, &[]), None, "aws-2026-free-tier");
    let focus = report.to_focus();
    let rows: Vec<Vec<&str>> = focus
        .lines()
        .map(|line| line.split(',').collect())
        .collect();
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{focus}");
    let billed = rows[0]
        .iter()
        .position(|name| *name == "BilledCost")
        .unwrap();
    let sum: Decimal = rows[1..]
        .iter()
        .map(|row| row[billed].parse::<Decimal>().unwrap())
        .sum();
    assert_eq!(sum.normalize(), report.cost().total().normalize());
    assert_eq!(rows.len(), 1 + 2 + 2);
}
