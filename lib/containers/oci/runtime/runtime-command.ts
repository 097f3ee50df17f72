/** How a runtime is called: what stands before its verbs. */
export interface RuntimeCommand {
  /** Absolute path. */
  program: string;
  globalArguments: string[];
}

/**
 * The same command with standard streams of no use: nothing to read, and nowhere to write. For an init, which gets
 * those of its runtime for life. They are ends of an empty pipe: `/dev/null` is the host's own node, which a runtime
 * gives to the container's root, who could close it to everybody.
 */
export function withoutStreams(command: RuntimeCommand, toolbox: string): RuntimeCommand {
  return throughShell(command, toolbox, ['exec <<END 1<&0 2<&0', 'END']);
}

/** The same command with its output on the stream of its errors, in the place of `/dev/null` (see above). */
export function withOutputOnErrors(command: RuntimeCommand, toolbox: string): RuntimeCommand {
  return throughShell(command, toolbox, ['exec 1>&2']);
}

export interface ProcessSurroundings {
  /** Static busybox of the host. */
  toolbox: string;
  /** Who gets its pipes, a user of the host; absent: they are left as they are. */
  pipeOwner?: number;
  /** Path of prlimit, and resource limits to raise before, as arguments for it. */
  raisedLimits?: { prlimit: string; args: string[] };
}

/**
 * The same command with standard streams that may be given away. Runtimes give the streams of a process to its user:
 *
 * * `/dev/null` (see above) is replaced by an empty pipe.
 * * Pipes of the host's root they cannot give away in a user namespace, and the user could not open `/dev/stdout`. Such
 *   pipes are given to the container's root before.
 */
export function forProcess(command: RuntimeCommand, surroundings: ProcessSurroundings): RuntimeCommand {
  const { toolbox, pipeOwner: owner, raisedLimits } = surroundings;
  const lines = ['[ -p /proc/$$/fd/0 ] || exec <<END', 'END'];
  if (owner !== undefined) {
    lines.push('for fd in 0 1 2; do [ -p /proc/$$/fd/$fd ] && pipes="$pipes /proc/$$/fd/$fd"; done');
    lines.push(`"${toolbox}" chown ${owner}:${owner} $pipes`);
  }
  if (raisedLimits?.args.length) {
    // What cannot be raised the runtime will refuse in its own words.
    lines.push(`"${raisedLimits.prlimit}" --pid $$ ${raisedLimits.args.join(' ')} 2>&-`);
  }
  return throughShell(command, toolbox, lines);
}

function throughShell(command: RuntimeCommand, toolbox: string, lines: string[]): RuntimeCommand {
  const script = [...lines, 'exec "$0" "$@"'].join('\n');
  return { program: toolbox, globalArguments: ['sh', '-c', script, command.program, ...command.globalArguments] };
}
