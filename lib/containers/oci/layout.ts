import { join } from 'node:path';

/**
 * Where the engine keeps what. Entries that begin with `@` (as no handle does) are directories of the engine itself.
 *
 *   <depot>/@run/<handle>/         what lives as long as the containers do: state, bundle, processes (a tmpfs)
 *   <depot>/@run/@runtime/<name>/  the runtimes' own state
 *   <depot>/@run/@engine           the process whose depot it is
 *   <depot>/@run/@owners/          layers that hold owners of files only, made in a moment
 *   <depot>/@output/<handle>/<id>/ kept output of a process
 *   <depot>/@images/               image layers, which outlive the containers made from them
 *   <depot>/@volumes, @network     of the collaborators
 *
 * The small files of a start, some twenty of them, are made and removed all the time and mean nothing after a reboot:
 * in memory they cost neither the disk nor the file system's locks. What may grow is on the disk.
 */
export class DepotLayout {
  readonly run: string;
  readonly runtimes: string;
  readonly owners: string;
  readonly output: string;
  readonly images: string;
  readonly volumes: string;
  readonly network: string;

  /** @param depot absolute */
  constructor(readonly depot: string) {
    this.run = join(depot, '@run');
    this.runtimes = join(this.run, '@runtime');
    this.owners = join(this.run, '@owners');
    this.output = join(depot, '@output');
    this.images = join(depot, '@images');
    this.volumes = join(depot, '@volumes');
    this.network = join(depot, '@network');
  }

  /** All of them. */
  get directories(): string[] {
    return [this.run, this.output, this.images, this.volumes, this.network];
  }

  /** Tells which process works in the depot. */
  get claim(): string {
    return join(this.run, '@engine');
  }

  /** Where a container is made to see what works. */
  get probe(): string {
    return join(this.run, '@probe');
  }

  /** What containers are given to set extended attributes with. */
  get attributeTool(): string {
    return join(this.run, '@attributes');
  }

  /** Directory of a container. */
  container(handle: string): string {
    return join(this.run, handle);
  }

  /** Directory of a container's bundle, with the files that its processes are known by. */
  processes(handle: string): string {
    return join(this.run, handle, 'processes');
  }

  /** Directory with the bundles of a container's peas, a directory each. */
  peas(handle: string): string {
    return join(this.run, handle, 'peas');
  }

  /** Directory with the kept output of a container's processes, one directory each. */
  outputOf(handle: string): string {
    return join(this.output, handle);
  }

  /** Whether a name in `run` is that of a container. */
  static isHandle(name: string): boolean {
    return !name.startsWith('@');
  }
}
