//! What was saved and stored over time.

use minijinja::{Value, context};

use crate::report::chart::{Chart, Group};
use crate::report::history::{History, Period};
use crate::report::units::{bytes, count, date, factor};

/// The section as the template takes it.
pub(super) fn section(history: &History) -> Value {
    let unit = history.unit();
    let periods = &history.periods;
    let bar = |what: &str, period: &Period, value: u64| {
        (value, format!("{}: {} {what}", date(period.start), bytes(value)))
    };
    let bars: Vec<Group> = periods
        .iter()
        .map(|period| Group {
            date: date(period.start),
            bars: vec![
                bar("in files of caches saved", period, period.raw_bytes),
                bar("uploaded in packs", period, period.pack_bytes),
            ],
        })
        .collect();
    let mut sum = history.before.pack_bytes;
    let sums: Vec<Group> = periods
        .iter()
        .map(|period| {
            sum += period.pack_bytes;
            Group { date: date(period.start), bars: vec![bar("in packs", period, sum)] }
        })
        .collect();
    let raw = periods.iter().fold(0, |sum, period| u64::saturating_add(sum, period.raw_bytes));
    let packed: u64 = periods.iter().map(|period| period.pack_bytes).sum();
    let chart = Chart {
        id: "growth-bars",
        title: "Bytes saved and bytes uploaded",
        summary: format!(
            "By {unit}: {} in files of caches saved, {} uploaded in packs, in all since {}.",
            bytes(raw),
            bytes(packed),
            date(periods[0].start)
        ),
        series: &["raw", "stored"],
        groups: &bars,
        stacked: false,
        label: bytes,
    };
    let total = Chart {
        id: "growth-sums",
        title: "Bytes of packs that are there",
        summary: format!("By the end of each {unit}; {} now.", bytes(sum)),
        series: &["stored"],
        groups: &sums,
        stacked: false,
        label: bytes,
    };
    let before =
        (history.before != Period::default()).then_some(("earlier".to_owned(), history.before));
    let told = periods.iter().filter(|period| period.caches + period.packs > 0);
    let told = before.into_iter().chain(told.map(|period| (date(period.start), *period)));
    let rows = told.map(|(start, period)| {
        context! {
            start,
            caches => count(period.caches),
            raw => bytes(period.raw_bytes),
            packs => count(period.packs),
            stored => bytes(period.pack_bytes),
            factor => factor(period.raw_bytes, period.pack_bytes),
        }
    });
    context! {
        unit,
        bars => Value::from_safe_string(chart.svg()),
        sums => Value::from_safe_string(total.svg()),
        rows => rows.collect::<Vec<_>>(),
    }
}
