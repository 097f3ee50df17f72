import { shellWord } from '../shell.js';

export interface StartScriptParts {
  systemExports: string;
  userExports: string;
  /** Undefined for a droplet without `staging_info.yml`, which brings its own `./startup`. */
  command: string | undefined;
  postSetupHook?: string | undefined;
  /** Path in the container of a droplet that is to be extracted first. */
  droplet?: string | undefined;
}

/**
 * The script that bash runs as user `vcap` in its home directory (docs/protocol/dea.md §10.3). The last `exec` makes
 * the app itself the container's process, so that TERM reaches it and its last lines are kept.
 */
export function startScript(parts: StartScriptParts): string {
  if (parts.command === undefined) {
    return [...extraction(parts.droplet), parts.systemExports, parts.userExports, './startup;', 'exit'].join('\n');
  }
  return [
    ...extraction(parts.droplet),
    'umask 077',
    parts.systemExports,
    parts.userExports,
    'unset GEM_PATH',
    'for f in app/.profile.d/*.sh; do [ -r "$f" ] && . "$f"; done; unset f',
    ...(parts.postSetupHook ? [parts.postSetupHook] : []),
    'DROPLET_BASE_DIR=$PWD',
    'cd app',
    'echo $$ >> $DROPLET_BASE_DIR/run.pid',
    `exec bash -c ${shellWord(parts.command)}`,
  ].join('\n');
}

/** As the extraction by a process of its own does it, and with the same rights for what is extracted. */
function extraction(droplet: string | undefined): string[] {
  return droplet === undefined ? [] : [`tar zxf ${shellWord(droplet)} || exit`, '[ -d app ] || mkdir app'];
}

/** A hook sees the app's whole environment (docs/protocol/dea.md §10.4). */
export function hookScript(parts: { systemExports: string; userExports: string; hook: string }): string {
  return ['umask 077', parts.systemExports, parts.userExports, parts.hook, 'exit'].join('\n');
}
