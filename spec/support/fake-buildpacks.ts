import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeBuildpack } from './builder.js';
import { zipDirectory } from './zip.js';

const release = (web: string) => `cat <<'END'\n---\ndefault_process_types:\n  web: ${JSON.stringify(web)}\nEND`;
const serve = 'env > environment.txt; exec python3 -m http.server $PORT';

/** Scripts of the buildpacks that upstream's own suite stages with (docs/protocol/dea.md §24), by their names there. */
const scripts: Record<string, Record<string, string>> = {
  // Moves the cache into the app, leaves something new for the next time, and shows its variables.
  start_command: {
    detect: 'echo "Start command"',
    compile: 'mkdir -p "$2"; mv "$2"/* "$1"/ 2> /dev/null; touch "$2/new_cached_file"; env > "$1/staging_env"; env',
    release: release(serve),
  },
  graceful_shutdown: {
    compile: 'true',
    release: release(
      "trap 'echo Trapped TERM signal; not shutting down' TERM; python3 -m http.server $PORT & while :; do sleep 0.2; done",
    ),
  },
  long_compiling_buildpack: { compile: 'echo compiling; while :; do sleep 0.2; done' },
  '5_second_compiling_buildpack': { compile: 'echo compiling; sleep 5', release: release(serve) },
  no_start_command: {},
  fail_to_detect: { detect: 'exit 1', release: release(serve) },
  admin_buildpack: { detect: 'echo Admin; exit 0', compile: 'echo admin > "$1/admin"', release: release(serve) },
  other_admin_buildpack: { detect: 'echo "Other admin"', release: release(serve) },
};

/** Buildpacks on the disk, made for one spec file. */
export class FakeBuildpacks {
  private constructor(readonly root: string) {}

  static async create(): Promise<FakeBuildpacks> {
    return new FakeBuildpacks(await mkdtemp(join(tmpdir(), 'fake-buildpacks-')));
  }

  /** Directory of one of upstream's, or of one with the given scripts. */
  write(name: string, own?: Record<string, string>): Promise<string> {
    return writeBuildpack(join(this.root, name), own ?? scripts[name]!);
  }

  async zip(name: string, own?: Record<string, string>): Promise<Buffer> {
    return zipDirectory(await this.write(name, own));
  }

  async remove(): Promise<void> {
    await rm(this.root, { recursive: true, force: true });
  }
}
