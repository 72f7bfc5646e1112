//! Environment, arguments, random numbers, and the end.

use rustix::rand::{GetRandomFlags, getrandom};
use wasmtime::{Caller, Linker};

use super::memory::Guest;
use super::{ARGUMENTS, Answer, Errno, Exit, Host, MODULE, number};

/// How many random bytes are made at once: some milliseconds' worth.
const RANDOM: usize = 1 << 20;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    type C<'a> = Caller<'a, Host>;
    linker.func_wrap(
        MODULE,
        "environ_sizes_get",
        |mut caller: C<'_>, count, size| {
            let texts = std::mem::take(&mut caller.data_mut().environment);
            let answer = sizes(&mut caller, &texts, count, size);
            caller.data_mut().environment = texts;
            number(answer)
        },
    )?;
    linker.func_wrap(MODULE, "environ_get", |mut caller: C<'_>, places, texts| {
        let environment = std::mem::take(&mut caller.data_mut().environment);
        let answer = list(&mut caller, &environment, places, texts);
        caller.data_mut().environment = environment;
        number(answer)
    })?;
    linker.func_wrap(
        MODULE,
        "args_sizes_get",
        |mut caller: C<'_>, count, size| number(sizes(&mut caller, &ARGUMENTS, count, size)),
    )?;
    linker.func_wrap(MODULE, "args_get", |mut caller: C<'_>, places, texts| {
        number(list(&mut caller, &ARGUMENTS, places, texts))
    })?;
    linker.func_wrap_async(
        MODULE,
        "random_get",
        |mut caller: C<'_>, (to, length): (u32, u32)| {
            Box::new(async move { number(random(&mut caller, to, length).await) })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proc_exit",
        |_: C<'_>, status: u32| -> wasmtime::Result<()> { Err(wasmtime::Error::new(Exit(status))) },
    )?;
    Ok(())
}

/// How many texts there are, and how long they are together, each with a zero behind it.
fn sizes(
    caller: &mut Caller<'_, Host>,
    texts: &[impl AsRef<str>],
    count: u32,
    size: u32,
) -> Answer {
    let mut guest = Guest::of(caller)?;
    let bytes: usize = texts.iter().map(|text| text.as_ref().len() + 1).sum();
    let small = |number: usize| u32::try_from(number).map_err(|_| Errno::Invalid);
    guest.write(count, &small(texts.len())?.to_le_bytes())?;
    guest.write(size, &small(bytes)?.to_le_bytes())
}

/// The texts at `to`, one behind the other, and the address of each at `places`.
fn list(caller: &mut Caller<'_, Host>, texts: &[impl AsRef<str>], places: u32, to: u32) -> Answer {
    let mut guest = Guest::of(caller)?;
    let (mut place, mut to) = (places, to);
    for text in texts {
        let text = text.as_ref().as_bytes();
        guest.write(place, &to.to_le_bytes())?;
        guest.write(to, text)?;
        let length = u32::try_from(text.len()).map_err(|_| Errno::Invalid)?;
        let end = to.checked_add(length).ok_or(Errno::Fault)?;
        guest.write(end, &[0])?;
        to = end.checked_add(1).ok_or(Errno::Fault)?;
        place = place.checked_add(4).ok_or(Errno::Fault)?;
    }
    Ok(())
}

/// The machine's own random numbers. Whoever asks for many lets others go on in between.
async fn random(caller: &mut Caller<'_, Host>, to: u32, length: u32) -> Answer {
    let mut done = 0;
    loop {
        {
            let mut guest = Guest::of(caller)?;
            let left = &mut guest.bytes(to, length)?[done..];
            if left.is_empty() {
                return Ok(());
            }
            let piece = left.len().min(RANDOM);
            done += getrandom(&mut left[..piece], GetRandomFlags::empty())
                .map_err(|_| Errno::NotSupported)?;
        }
        if done < length as usize {
            tokio::task::yield_now().await;
        }
    }
}
