//! Moves sealed recordings in and out of the audio store of the environment, for checks against other clients:
//! `audio_store SPOOL check | list | put ID FILE | get ID FILE | delete ID | resume`.
#![allow(clippy::print_stdout)]

use clinic::CallId;
use std::error::Error;
use store::{AudioConfig, AudioStore};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (spool, command) = arguments.split_first().ok_or("a spool and a command are needed")?;
    let audio_store = std::env::var("AUDIO_STORE")?;
    let config = AudioConfig::from_settings(&audio_store, spool.into(), |name| std::env::var(name).ok())?;
    let store = AudioStore::open(config)?;
    match command {
        ["check"] => store.check().await.map_err(whole)?,
        ["list"] => {
            for audio in store.list().await.map_err(whole)? {
                println!("{} {} {:?}", audio.call_id, audio.bytes, audio.place);
            }
        }
        ["put", id, file] => {
            let id = CallId::parse(id)?;
            std::fs::copy(file, store.local_dir().join(format!("{id}.hvr")))?;
            store.finish(&id).await.map_err(whole)?;
        }
        ["get", id, file] => {
            let mut sealed = store.read_sealed(&CallId::parse(id)?).await.map_err(whole)?;
            std::io::copy(&mut sealed, &mut std::fs::File::create(file)?)?;
        }
        ["delete", id] => println!("{:?}", store.delete(&CallId::parse(id)?).await.map_err(whole)?),
        ["resume"] => println!("{:?}", store.resume_uploads().await?),
        _ => return Err("no such command".into()),
    }
    Ok(())
}

/// An error with its causes.
fn whole(error: store::StoreError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
