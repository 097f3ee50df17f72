/** What a program runs: it owns everything it starts, and `stop` resolves when all of that is released. */
export interface Component {
  start(): Promise<void>;
  /** Idempotent. */
  stop(): Promise<void>;
}

export interface Program<Config, Running extends Component = Component> {
  /** Name of the command, as in `bin/<name>`. */
  name: string;
  /** One sentence for `--help`. */
  summary: string;
  /** Reads and checks the configuration file. @throws with a text that names the fault */
  load(path: string): Config;
  create(config: Config): Running | Promise<Running>;
  /** Tries out, for `--check`, what the configuration needs of the host; the text is printed. */
  probe?(config: Config): Promise<{ text: string; isFit: boolean }>;
  /** Examines the file and what it needs for `--check`, in place of `load` and `probe`; the text is printed. */
  check?(path: string): Promise<{ text: string; isFit: boolean }>;
  /** What is said of an error of `load`. @default one line on standard error */
  describeLoadError?(error: Error): { stdout: string; stderr: string };
  /** Extra paragraphs for `--help`. */
  details?: string;
  /** Exit status of every failure. @default 1 */
  failureStatus?: number;
  /**
   * Claims signals for the component; by default TERM, INT and QUIT stop it.
   * Calls `exit` once when the program is done.
   */
  handleSignals?(component: Running, exit: (status: number) => void): void;
}

function helpText(program: Pick<Program<unknown>, 'name' | 'summary' | 'details' | 'probe' | 'check'>): string {
  return `Usage: ${program.name} <config path>

${program.summary}

  --check    read and check the configuration file${program.probe || program.check ? ', try out the host' : ''}, then exit
  --help     show this text
${program.details ? `\n${program.details}\n` : ''}`;
}

/**
 * The life of a `bin/<name> CONFIG` program: arguments, configuration, start, signals, orderly stop.
 * Exit status: 0 after an orderly stop, `failureStatus` for every failure (docs/protocol/dea.md §1.1).
 */
export async function runProgram<Config, Running extends Component = Component>(
  program: Program<Config, Running>,
  args = process.argv.slice(2),
): Promise<void> {
  const { failureStatus = 1 } = program;
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(helpText(program));
    return;
  }
  const paths = args.filter((arg) => arg !== '--check');
  const path = paths[0];
  if (paths.length !== 1 || path === undefined || path.startsWith('-')) {
    process.stderr.write(`Usage: ${program.name} <config path>\n`);
    process.exitCode = failureStatus;
    return;
  }
  if (args.includes('--check') && program.check) {
    const { text, isFit } = await program.check(path);
    process.stdout.write(text);
    if (!isFit) process.exitCode = failureStatus;
    return;
  }
  const config = loadOrReport(program, path);
  if (config === undefined) {
    process.exitCode = failureStatus;
    return;
  }
  if (args.includes('--check')) {
    process.stdout.write(`${path}: ok\n`);
    if (!(await isHostFit(program, config.value))) process.exitCode = failureStatus;
    return;
  }
  await runUntilStopped(program, config.value);
}

async function isHostFit<Config>(program: Pick<Program<Config>, 'probe'>, config: Config): Promise<boolean> {
  try {
    const findings = await program.probe?.(config);
    if (findings) process.stdout.write(findings.text);
    return findings?.isFit ?? true;
  } catch (error) {
    process.stderr.write(`ERROR: Failed trying out the host: ${(error as Error).message}\n`);
    return false;
  }
}

function loadOrReport<Config>(
  program: Pick<Program<Config>, 'load' | 'describeLoadError'>,
  path: string,
): { value: Config } | undefined {
  try {
    return { value: program.load(path) };
  } catch (error) {
    const { describeLoadError = failedLoading } = program;
    const { stdout, stderr } = describeLoadError(error as Error);
    process.stdout.write(stdout);
    process.stderr.write(stderr);
    return undefined;
  }
}

/** What upstream's programs say of a file that cannot be loaded. */
export function failedLoading({ message }: Error): { stdout: string; stderr: string } {
  return { stdout: '', stderr: `ERROR: Failed loading config: ${message}\n` };
}

async function runUntilStopped<Config, Running extends Component>(
  program: Program<Config, Running>,
  config: Config,
): Promise<void> {
  let component: Running | undefined;
  try {
    component = await program.create(config);
    // Before start: a signal during a long start must lead to an orderly stop, too.
    const handleSignals = program.handleSignals ?? signalStopper(program.failureStatus ?? 1);
    handleSignals(component, (status) => process.exit(status));
    await component.start();
  } catch (error) {
    process.stderr.write(`Encountered error: ${(error as Error).message}\n`);
    await component?.stop().catch((stopError: unknown) => {
      process.stderr.write(`stop failed: ${(stopError as Error).message}\n`);
    });
    process.exit(program.failureStatus ?? 1);
  }
}

function signalStopper(failureStatus: number) {
  return function stopOnSignals(component: Component, exit: (status: number) => void): void {
    let isStopping = false;
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const) {
      process.on(signal, () => {
        if (isStopping) return;
        isStopping = true;
        component.stop().then(
          () => exit(0),
          (error: unknown) => {
            process.stderr.write(`stop failed: ${(error as Error).message}\n`);
            exit(failureStatus);
          },
        );
      });
    }
  };
}
