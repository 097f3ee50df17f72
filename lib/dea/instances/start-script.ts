import { shellWord } from '../shell.js';

export interface StartScriptParts {
  systemExports: string;
  userExports: string;
  /** Undefined for a droplet without `staging_info.yml`, which brings its own `./startup`. */
  command: string | undefined;
  postSetupHook?: string | undefined;
}

/**
 * The script that bash runs as user `vcap` in its home directory (docs/protocol/dea.md §10.3). The last `exec` makes
 * the app itself the container's process, so that TERM reaches it and its last lines are kept.
 */
export function startScript(parts: StartScriptParts): string {
  if (parts.command === undefined) {
    return [parts.systemExports, parts.userExports, './startup;', 'exit'].join('\n');
  }
  return [
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

/** A hook sees the app's whole environment (docs/protocol/dea.md §10.4). */
export function hookScript(parts: { systemExports: string; userExports: string; hook: string }): string {
  return ['umask 077', parts.systemExports, parts.userExports, parts.hook, 'exit'].join('\n');
}
