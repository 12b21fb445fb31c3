//! Hit rates, as far as runs were told of.

use std::cmp::Reverse;

use larder::store_time::StoreTime;
use minijinja::{Value, context};

use super::{MOST_OTHER_ROWS, card};
use crate::report::chart::{Chart, Group};
use crate::report::runs::{self, Restores, Runs};
use crate::report::units::{bytes, count, date, percent, things};

/// Days of restores that are drawn.
const DAYS: std::ops::RangeInclusive<i64> = 14..=60;

/// The section as the template takes it.
pub(super) fn section(runs: &Runs) -> Value {
    let of = &runs.restores;
    let all = of.runs();
    let saves = &runs.saves;
    let cards = vec![
        card("Restores", count(all), format!("{:.1} s each", each(of.seconds, all))),
        card("The key itself", percent(of.exact, all), count(of.exact)),
        card("By a prefix", percent(of.prefix, all), count(of.prefix)),
        card("Nothing found", percent(of.miss, all), count(of.miss)),
        card("Fetched", bytes(of.fetched_bytes), format!("for {} in files", bytes(of.raw_bytes))),
        card("From local caches", bytes(of.local_bytes), "not fetched".to_owned()),
        card(
            "Saves",
            count(saves.runs),
            format!(
                "{} had nothing to upload; {:.1} s each",
                count(saves.idle),
                each(saves.seconds, saves.runs)
            ),
        ),
        card(
            "Uploaded",
            bytes(saves.uploaded_bytes),
            format!("of {} saved", bytes(saves.raw_bytes)),
        ),
    ];
    let mut groups: Vec<_> = runs.groups.iter().collect();
    groups.sort_by_key(|(_, of)| Reverse(of.runs()));
    let shown = groups.iter().take(MOST_OTHER_ROWS);
    let groups_shown = shown.map(|((scope, group), of)| group_row(scope, group, of));
    let told = [
        (
            runs.failed,
            "ended with an error, and is no hit and no miss",
            "ended with errors, and are no hits and no misses",
        ),
        (
            runs.timeless,
            "tells no time, and is not in the picture",
            "tell no time, and are not in the picture",
        ),
        (runs.others, "is of another command", "are of other commands"),
        (runs.unread, "cannot be read", "cannot be read"),
    ];
    let notes = told.iter().filter(|(number, ..)| *number > 0).map(|(number, one, many)| {
        format!("{} {}.", things(*number, "line"), if *number == 1 { one } else { many })
    });
    context! {
        cards,
        days => days_chart(runs).map(Value::from_safe_string),
        groups => groups_shown.collect::<Vec<_>>(),
        groups_left => groups.len().saturating_sub(MOST_OTHER_ROWS),
        notes => notes.collect::<Vec<_>>(),
        bad => runs.bad_lines.iter().map(ToString::to_string).collect::<Vec<_>>(),
    }
}

fn group_row(scope: &str, group: &runs::Group, of: &Restores) -> Value {
    let all = of.runs();
    let name = match group {
        runs::Group::Cache(name) | runs::Group::Family(name) => name.as_str(),
        runs::Group::Unnamed => "(misses)",
    };
    context! {
        name,
        scope,
        runs => all,
        shown => count(all),
        exact_v => of.exact,
        exact => percent(of.exact, all),
        prefix_v => of.prefix,
        prefix => percent(of.prefix, all),
        miss_v => of.miss,
        miss => percent(of.miss, all),
        fetched_v => of.fetched_bytes,
        fetched => bytes(of.fetched_bytes),
        seconds => format!("{:.1}", each(of.seconds, all)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure behind the point is shown")]
fn each(seconds: f64, runs: u64) -> f64 {
    if runs == 0 { 0.0 } else { seconds / runs as f64 }
}

/// The restores of the last days that are told of.
fn days_chart(runs: &Runs) -> Option<String> {
    let (first, last) = (*runs.days.keys().next()?, *runs.days.keys().next_back()?);
    let days = (last - first).saturating_add(1).clamp(*DAYS.start(), *DAYS.end());
    let group = |day: i64| {
        let of = runs.days.get(&day).copied().unwrap_or_default();
        let date = date(StoreTime::from_unix(day.saturating_mul(86_400)));
        let bar = |number: u64, what: &str| (number, format!("{date}: {} {what}", count(number)));
        let bars = vec![
            bar(of.exact, "of the key itself"),
            bar(of.prefix, "by a prefix"),
            bar(of.miss, "found nothing"),
        ];
        Group { date, bars }
    };
    let groups: Vec<Group> = (last.saturating_sub(days - 1)..=last).map(group).collect();
    let of = &runs.restores;
    let chart = Chart {
        id: "restores",
        title: "Restores a day",
        summary: format!(
            "In all {} of the key itself, {} by a prefix, {} that found nothing.",
            count(of.exact),
            count(of.prefix),
            count(of.miss)
        ),
        series: &["exact", "prefix", "miss"],
        groups: &groups,
        stacked: true,
        label: count,
    };
    Some(chart.svg())
}
