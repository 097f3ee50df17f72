import { runHostProgram } from '../../host-program.js';

/** Limits of a project; 0: none. */
export interface ProjectLimits {
  project: number;
  bytes: number;
  inodes: number;
}

/** How a file system's projects are spoken to: Node has no ioctl and no quotactl, so programs do it. */
export interface ProjectPrograms {
  /** By program, the Debian package that brings it. */
  readonly packages: Readonly<Record<string, string>>;
  /** Gives a directory's project; what is made in it later belongs to it, too. `directory` is relative to `cwd`. */
  assign(cwd: string, directory: string, project: number): Promise<void>;
  /** Sets the limits of some projects, in one process. */
  limit(mountPoint: string, limits: ProjectLimits[]): Promise<void>;
}

/** Names are not looked up: projects are numbers here. */
const withoutNames = ['-D', '/dev/null', '-P', '/dev/null'];

export const xfsPrograms: ProjectPrograms = {
  packages: { xfs_io: 'xfsprogs', xfs_quota: 'xfsprogs' },
  async assign(cwd, directory, project) {
    await runHostProgram('xfsprogs', 'xfs_io', ['-r', '-c', `chproj ${project}`, '-c', 'chattr +P', directory], {
      cwd,
    });
  },
  async limit(mountPoint, limits) {
    const commands = limits.map(
      ({ project, bytes, inodes }) => `limit -p bsoft=0 bhard=${bytes} isoft=0 ihard=${inodes} ${project}`,
    );
    const args = ['-x', ...withoutNames, ...commands.flatMap((command) => ['-c', command]), mountPoint];
    await runHostProgram('xfsprogs', 'xfs_quota', args);
  },
};

const setquotaBlockBytes = 1024;

export const ext4Programs: ProjectPrograms = {
  packages: { chattr: 'e2fsprogs', setquota: 'quota' },
  async assign(cwd, directory, project) {
    await runHostProgram('e2fsprogs', 'chattr', ['-p', String(project), '+P', directory], { cwd });
  },
  async limit(mountPoint, limits) {
    const lines = limits.map(
      ({ project, bytes, inodes }) => `${project} 0 ${Math.ceil(bytes / setquotaBlockBytes)} 0 ${inodes}\n`,
    );
    await runHostProgram('quota', 'setquota', ['-P', '-b', mountPoint], { input: lines.join('') });
  },
};
