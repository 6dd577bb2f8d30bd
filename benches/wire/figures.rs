//! Rates, ratios and processor time, and the table they are printed in.

use std::time::Duration;

/// One sender's run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) messages: u32,
    pub(crate) took: Duration,
    /// Processor time of the sender, where it could be had.
    pub(crate) cpu: Option<Duration>,
    /// Processor time of the receiver meanwhile.
    pub(crate) sink: Duration,
}

impl Run {
    fn rate(&self) -> f64 {
        f64::from(self.messages) / self.took.as_secs_f64()
    }

    /// The sender's processor time for one message, in microseconds.
    pub(crate) fn cpu_each(&self) -> Option<f64> {
        Some(self.cpu?.as_secs_f64() * 1e6 / f64::from(self.messages))
    }
}

/// This process's processor time.
pub(crate) struct Cpu(Duration);

impl Cpu {
    pub(crate) fn now() -> Result<Self, String> {
        Ok(Self(of("self")?))
    }

    pub(crate) fn since(&self) -> Result<Duration, String> {
        Ok(of("self")?.saturating_sub(self.0))
    }
}

/// A process's processor time so far.
pub(crate) fn of_process(pid: u32) -> Result<Duration, String> {
    of(&pid.to_string())
}

/// User and system time of a process, in the kernel's ticks of 10 ms.
fn of(pid: &str) -> Result<Duration, String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|error| error.to_string())?;
    let fields: Vec<&str> =
        stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Ok(Duration::from_millis((ticks(11) + ticks(12)) * 10))
}

/// Senders in the order they were added; the first is the measure.
pub(crate) struct Table {
    name: &'static str,
    wanted: Option<f64>,
    rows: Vec<(&'static str, Vec<Run>)>,
}

impl Table {
    pub(crate) fn new(name: &'static str, wanted: Option<f64>) -> Self {
        Self { name, wanted, rows: Vec::new() }
    }

    pub(crate) fn add(&mut self, sender: &'static str, run: Run) {
        match self.rows.iter_mut().find(|(name, _)| *name == sender) {
            Some((_, runs)) => runs.push(run),
            None => self.rows.push((sender, vec![run])),
        }
    }

    pub(crate) fn print(&self) {
        println!("\n{}", self.name);
        let Some((measure, first)) = self.rows.first() else { return };
        for (name, runs) in &self.rows {
            let rate = median(runs.iter().map(Run::rate).collect());
            let ratio =
                median(runs.iter().zip(first).map(|(run, first)| run.rate() / first.rate()).collect());
            let cpu: Vec<f64> = runs.iter().filter_map(Run::cpu_each).collect();
            let cpu = if cpu.is_empty() {
                "           -".to_owned()
            } else {
                format!("{:>5.0} us CPU", median(cpu))
            };
            let sink = median(
                runs.iter().map(|run| run.sink.as_secs_f64() * 1e6 / f64::from(run.messages)).collect(),
            );
            let wanted = match self.wanted {
                Some(wanted) if *name == "matinale" => {
                    format!(
                        "  (at least {wanted} of {measure}: {})",
                        if ratio >= wanted { "yes" } else { "NO" }
                    )
                }
                _ => String::new(),
            };
            println!("  {name:<18} {rate:>8.0}/s  x{ratio:<5.2}  {cpu}  sink {sink:>4.0} us{wanted}");
        }
    }
}

/// The middle one; of an even number, the mean of the two.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[half],
        _ => f64::midpoint(values[half - 1], values[half]),
    }
}
