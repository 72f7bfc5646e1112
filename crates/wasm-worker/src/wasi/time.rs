//! Clocks.

use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};
use wasmtime::{Caller, Linker};

use super::memory::Guest;
use super::{Answer, Errno, Host, MODULE, number};

/// The clocks that there are: those of processor time would tell of other instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    Real,
    Monotonic,
}

impl Clock {
    /// The clock with this number.
    pub(super) fn of(number: u32) -> Result<Self, Errno> {
        match number {
            0 => Ok(Self::Real),
            1 => Ok(Self::Monotonic),
            2 | 3 => Err(Errno::NotSupported),
            _ => Err(Errno::Invalid),
        }
    }

    const fn id(self) -> ClockId {
        match self {
            Self::Real => ClockId::Realtime,
            Self::Monotonic => ClockId::Monotonic,
        }
    }

    /// What it shows, in nanoseconds.
    pub(crate) fn now(self) -> u64 {
        nanoseconds(clock_gettime(self.id()))
    }

    /// How fine it is, in nanoseconds.
    pub(crate) fn resolution(self) -> u64 {
        nanoseconds(clock_getres(self.id()))
    }
}

fn nanoseconds(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let rest = u64::try_from(time.tv_nsec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    type C<'a> = Caller<'a, Host>;
    linker.func_wrap(MODULE, "clock_res_get", |mut caller: C<'_>, clock, to| {
        number(tell(&mut caller, clock, to, Clock::resolution))
    })?;
    linker.func_wrap(
        MODULE,
        "clock_time_get",
        |mut caller: C<'_>, clock, _precision: u64, to| {
            number(tell(&mut caller, clock, to, Clock::now))
        },
    )?;
    linker.func_wrap(MODULE, "sched_yield", |_: C<'_>| 0)?;
    Ok(())
}

fn tell(
    caller: &mut Caller<'_, Host>,
    clock: u32,
    to: u32,
    what: impl FnOnce(Clock) -> u64,
) -> Answer {
    let told = what(Clock::of(clock)?);
    Guest::of(caller)?.write(to, &told.to_le_bytes())
}
