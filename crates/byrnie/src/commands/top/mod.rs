//! `byrnie top`: the gateway at work, live on a terminal, or once for a log.

mod frame;
mod screen;
mod words;

use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::MissedTickBehavior;
use tokio::time::interval;

use self::frame::Order;
use self::frame::frame;
use self::screen::Screen;
use self::screen::size;
use crate::cli::TopArgs;
use crate::config;
use crate::control;
use crate::control::Glance;
use crate::control::Request;
use crate::failure::Failure;
use crate::output;
use crate::output::Paint;
use crate::runtime;
use crate::signals;

/// Runs `byrnie top`.
pub(crate) fn run(args: &TopArgs) -> Result<ExitCode, Failure> {
    let file = config::load(args.config.config.as_deref())?;
    let spool = file.queue.spool;
    if args.once {
        tell(&look(&spool)?, args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.json {
        runtime::block_on(stream(&spool))?;
        return Ok(ExitCode::SUCCESS);
    }
    // Whoever pipes it somewhere wants `--once`.
    let screen = Screen::take()?;
    let ended = runtime::block_on(live(&spool));
    drop(screen);
    ended.map(|()| ExitCode::SUCCESS)
}

/// Asks the gateway what is going on.
fn look(spool: &Path) -> Result<Glance, Failure> {
    let request = Request::Look {
        destinations: DESTINATIONS,
        named: Vec::new(),
    };
    let glance = control::ask(spool, &request)?;
    glance.ok_or_else(|| control::nobody_there(spool))
}

/// The same beside what else is to be done.
async fn look_aside(spool: PathBuf) -> Result<Glance, Failure> {
    spawn_blocking(move || look(&spool))
        .await
        .unwrap_or_else(|error| Err(Failure::runtime(error.to_string())))
}

/// Says once what is going on.
fn tell(glance: &Glance, json: bool) -> Result<(), Failure> {
    if json {
        return output::print_json(glance);
    }
    let (width, height) = size().unwrap_or(ON_PAPER);
    let height = height.max(ON_PAPER.1);
    let lines = frame(
        glance,
        Order::MostMail,
        (width, height),
        Paint::for_stdout(),
    );
    output::print(lines.join("\n") + "\n")
}

/// Says in JSON each second what is going on, until a signal ends it.
async fn stream(spool: &Path) -> Result<(), Failure> {
    let mut terminated = Box::pin(signals::termination()?);
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut terminated => return Ok(()),
            _ = ticks.tick() => tell(&look_aside(spool.to_path_buf()).await?, true)?,
        }
    }
}

/// Draws each second, and whenever the terminal changes or a key is pressed.
async fn live(spool: &Path) -> Result<(), Failure> {
    let mut terminated = Box::pin(signals::termination()?);
    let mut resized = signals::resizes()?;
    let mut keys = keys();
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut order, mut last) = (Order::MostMail, None);
    loop {
        tokio::select! {
            () = &mut terminated => return Ok(()),
            _ = resized.recv() => {}
            _ = ticks.tick() => last = Some(look_aside(spool.to_path_buf()).await),
            key = keys.recv() => match key {
                None | Some(b'q' | CONTROL_C | CONTROL_D) => return Ok(()),
                Some(b's') => order = order.other(),
                Some(_) => continue,
            },
        }
        let size = size().unwrap_or(ON_PAPER);
        match &last {
            None => {}
            Some(Ok(glance)) => {
                screen::draw(&frame(glance, order, size, Paint::for_stdout()))?;
            }
            // The gateway may be restarting: whoever watches wants to see it come back.
            Some(Err(failure)) => screen::draw(&absent(failure))?,
        }
    }
}

/// What is shown while there is no gateway.
fn absent(failure: &Failure) -> Vec<String> {
    vec![
        output::visible(failure.message()),
        output::visible(failure.advice()),
        String::new(),
        String::from("looking again each second; q ends this"),
    ]
}

/// The keys that are pressed.
fn keys() -> mpsc::Receiver<u8> {
    let (pressed, keys) = mpsc::channel(KEYS_AHEAD);
    // A read cannot be broken off: the thread ends with the process, or with the terminal.
    thread::spawn(move || {
        for key in io::stdin().lock().bytes().map_while(Result::ok) {
            if pressed.blocking_send(key).is_err() {
                return;
            }
        }
    });
    keys
}

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Next hops that are asked for: enough to find the slowest among the most loaded.
const DESTINATIONS: u32 = 500;

/// Columns and lines where there is no terminal.
const ON_PAPER: (usize, usize) = (80, 40);

/// Keys that may wait to be looked at.
const KEYS_AHEAD: usize = 16;

/// Ctrl-C, as a terminal sends it that does not make a signal of it.
const CONTROL_C: u8 = 3;

/// Ctrl-D.
const CONTROL_D: u8 = 4;
