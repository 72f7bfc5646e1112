//! Files, folders and sockets, of which there are none.

use wasmtime::{Caller, FuncType, Linker, Val, ValType};

use super::{Errno, Host, MODULE, number};

/// Every call that concerns what is not there: its name, its parameters (`i` for 32 bits, `l` for 64),
/// and what it answers of a descriptor that is there, all of which are pipes. Of any other it says that
/// it does not know it.
const ABSENT: [(&str, &str, Errno); 29] = [
    ("fd_advise", "illi", Errno::NoSeek),
    ("fd_allocate", "ill", Errno::NoSeek),
    ("fd_datasync", "i", Errno::Invalid),
    ("fd_fdstat_set_rights", "ill", Errno::NotSupported),
    ("fd_filestat_set_size", "il", Errno::Invalid),
    ("fd_filestat_set_times", "illi", Errno::Invalid),
    ("fd_pread", "iiili", Errno::NoSeek),
    ("fd_prestat_dir_name", "iii", Errno::BadDescriptor),
    ("fd_prestat_get", "ii", Errno::BadDescriptor),
    ("fd_pwrite", "iiili", Errno::NoSeek),
    ("fd_readdir", "iiili", Errno::NotADirectory),
    ("fd_renumber", "ii", Errno::NotSupported),
    ("fd_seek", "ilii", Errno::NoSeek),
    ("fd_sync", "i", Errno::Invalid),
    ("fd_tell", "ii", Errno::NoSeek),
    ("path_create_directory", "iii", Errno::NotADirectory),
    ("path_filestat_get", "iiiii", Errno::NotADirectory),
    ("path_filestat_set_times", "iiiilli", Errno::NotADirectory),
    ("path_link", "iiiiiii", Errno::NotADirectory),
    ("path_open", "iiiiillii", Errno::NotADirectory),
    ("path_readlink", "iiiiii", Errno::NotADirectory),
    ("path_remove_directory", "iii", Errno::NotADirectory),
    ("path_rename", "iiiiii", Errno::NotADirectory),
    ("path_unlink_file", "iii", Errno::NotADirectory),
    ("sock_accept", "iii", Errno::NotASocket),
    ("sock_recv", "iiiiii", Errno::NotASocket),
    ("sock_send", "iiiii", Errno::NotASocket),
    ("sock_shutdown", "ii", Errno::NotASocket),
    // Its descriptor is the third parameter.
    ("path_symlink", "iiiii", Errno::NotADirectory),
];

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    for (name, parameters, errno) in ABSENT {
        let at = if name == "path_symlink" { 2 } else { 0 };
        let parameters = parameters.bytes().map(|letter| match letter {
            b'l' => ValType::I64,
            _ => ValType::I32,
        });
        let kind = FuncType::new(linker.engine(), parameters, [ValType::I32]);
        linker.func_new(MODULE, name, kind, move |caller, parameters, results| {
            let answer = descriptor(&caller, parameters.get(at)).and(Err(errno));
            results[0] = Val::I32(number(answer));
            Ok(())
        })?;
    }
    linker.func_wrap(MODULE, "proc_raise", |_signal: u32| {
        number(Err(Errno::NoSuchCall))
    })?;
    Ok(())
}

fn descriptor(caller: &Caller<'_, Host>, parameter: Option<&Val>) -> Result<(), Errno> {
    #[expect(clippy::cast_sign_loss, reason = "descriptors have no sign")]
    let number = parameter.and_then(Val::i32).unwrap_or(-1) as u32;
    caller.data().open(number)
}
