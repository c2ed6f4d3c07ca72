//! `heartvoice simulate`: the simulators on their own, for trying other software against them.

mod call;
mod chaos;
mod elevenlabs;
mod faults;
mod openai;
mod twilio;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Telephones a server as Twilio would, with recorded or scripted speech
    Call(call::Args),
    /// The agents service: conversations, and an account to keep agents in
    #[command(name = "elevenlabs")]
    ElevenLabs(elevenlabs::Args),
    /// OpenAI's Realtime service: sessions, and the description of a model
    #[command(name = "openai")]
    OpenAi(openai::Args),
    /// Twilio's REST interface: calls and messages
    Twilio(twilio::Args),
    /// Breaks things in whole calls, in virtual time, and checks what must always hold
    Chaos(chaos::Args),
}

pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Call(args) => Box::pin(call::run(args)).await,
        Command::ElevenLabs(args) => elevenlabs::run(args).await,
        Command::OpenAi(args) => openai::run(args).await,
        Command::Twilio(args) => twilio::run(args).await,
        Command::Chaos(args) => chaos::run(args).await,
    }
}
