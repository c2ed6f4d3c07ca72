//! `heartvoice simulate`: the simulators on their own, for trying other software against them.

mod call;
mod elevenlabs;
mod faults;
mod twilio;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Telephones a server as Twilio would, with recorded or scripted speech
    Call(call::Args),
    /// The agents service: conversations, and an account to keep agents in
    #[command(name = "elevenlabs")]
    ElevenLabs(elevenlabs::Args),
    /// Twilio's REST interface: calls and messages
    Twilio(twilio::Args),
}

pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Call(args) => Box::pin(call::run(args)).await,
        Command::ElevenLabs(args) => elevenlabs::run(args).await,
        Command::Twilio(args) => twilio::run(args).await,
    }
}
