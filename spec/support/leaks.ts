import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DepotLayout } from '../../lib/containers/oci/layout.js';
import { engineTag } from '../../lib/containers/oci/tag.js';
import { eventually } from './eventually.js';

/** Kinds of things on a host that an engine makes and must give back. */
export interface HostThings {
  mounts: string[];
  networkNamespaces: string[];
  links: string[];
  firewallRules: string[];
  controlGroups: string[];
  loopDevices: string[];
  processes: string[];
  files: string[];
}

/**
 * Everything on this host that belongs to the engine of a depot, kind by kind. Engines that run beside it do not show.
 */
export function thingsOfEngine(depotDirectory: string): HostThings {
  const tag = engineTag(depotDirectory);
  const controlGroups = controlGroupsOf(tag);
  return {
    mounts: lines(readFileSync('/proc/self/mounts', 'utf8')).filter(
      (line) => line.includes(`${depotDirectory}/`) || line.includes(`isth${tag}-`),
    ),
    networkNamespaces: names('/run/netns').filter((name) => name.startsWith(`isth${tag}-`)),
    links: names('/sys/class/net').filter((name) => name.startsWith(`isth${tag}-`)),
    firewallRules: lines(execFileSync('iptables-save', { encoding: 'utf8' })).filter(
      (line) => line.includes(`isth${tag}-`) || line.includes(`isthmus-${tag}-`),
    ),
    controlGroups,
    loopDevices: loopDevicesOf(depotDirectory),
    processes: processesOf(depotDirectory, tag),
    files: ['', '@run', '@output'].flatMap((directory) =>
      names(join(depotDirectory, directory)).map((name) => join(directory, name)),
    ),
  };
}

/** Handles of the containers that the engine of a depot has on the disk, also half-made ones. */
export function containersIn(depotDirectory: string): string[] {
  return names(new DepotLayout(depotDirectory).run).filter(DepotLayout.isHandle);
}

/** The kinds of which something is left, and what. */
export function leftoversOfEngine(depotDirectory: string): Partial<HostThings> {
  const things = Object.entries(thingsOfEngine(depotDirectory));
  return Object.fromEntries(things.filter(([, found]) => found.length > 0));
}

/**
 * Resolves when nothing of the engine is left on this host.
 *
 * @throws naming what is left after `timeoutMs`
 */
export async function expectNothingLeft(depotDirectory: string, timeoutMs = 5_000): Promise<void> {
  await eventually(
    () => {
      const leftovers = leftoversOfEngine(depotDirectory);
      if (Object.keys(leftovers).length === 0) return true;
      throw new Error(`the engine of ${depotDirectory} left behind ${JSON.stringify(leftovers, null, 2)}`);
    },
    { timeoutMs },
  );
}

/**
 * Resolves when nothing is left of the containers of an engine that has stopped and may be started again: what belongs
 * to the engine itself stays.
 *
 * @throws naming what is left after `timeoutMs`
 */
export async function expectNoContainerLeft(depotDirectory: string, timeoutMs = 5_000): Promise<void> {
  const layout = new DepotLayout(depotDirectory);
  const tag = engineTag(depotDirectory);
  await eventually(
    () => {
      const things = thingsOfEngine(depotDirectory);
      const left = {
        volumes: names(layout.volumes),
        handles: containersIn(depotDirectory),
        networkNamespaces: things.networkNamespaces,
        links: things.links,
        loopDevices: things.loopDevices,
        processes: things.processes,
        controlGroups: things.controlGroups.filter((path) => !path.endsWith(`/isthmus-${tag}`)),
      };
      if (Object.values(left).every((list) => list.length === 0)) return true;
      throw new Error(`of containers of ${depotDirectory} is left ${JSON.stringify(left, null, 2)}`);
    },
    { timeoutMs },
  );
}

/** Numbers of all processes below one, at this moment. */
export function descendantsOf(pid: number): number[] {
  return childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)]);
}

/** Those that it has started, or adopted; none when it is gone. */
function childrenOf(pid: number): number[] {
  try {
    const threads = readdirSync(`/proc/${pid}/task`);
    const lists = threads.map((thread) => readFileSync(`/proc/${pid}/task/${thread}/children`, 'latin1'));
    return lists.flatMap((list) => list.trim().split(' ').filter(Boolean).map(Number));
  } catch {
    return [];
  }
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** In every hierarchy, whatever its version. */
function controlGroupsOf(tag: string): string[] {
  const mountPoints = lines(readFileSync('/proc/self/mounts', 'utf8'))
    .map((line) => line.split(' '))
    .filter(([, , type]) => type === 'cgroup' || type === 'cgroup2')
    .map(([, path]) => path!);
  return mountPoints.flatMap((path) => directoriesBelow(path, 4)).filter((path) => path.includes(`isthmus-${tag}`));
}

function directoriesBelow(path: string, depth: number): string[] {
  if (depth === 0) return [];
  try {
    const directories = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    return directories.flatMap(({ name }) => [join(path, name), ...directoriesBelow(join(path, name), depth - 1)]);
  } catch {
    return [];
  }
}

function loopDevicesOf(depotDirectory: string): string[] {
  return names('/sys/block').filter((name) => {
    try {
      return readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8').startsWith(`${depotDirectory}/`);
    } catch {
      return false;
    }
  });
}

/** Those that name the depot on their command line (conmon, runtimes, tools), and those in its control groups. */
function processesOf(depotDirectory: string, tag: string): string[] {
  return names('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').join(' ').trim();
        const groups = readFileSync(`/proc/${pid}/cgroup`, 'latin1');
        const isOurs = command.includes(`${depotDirectory}/`) || groups.includes(`isthmus-${tag}`);
        return isOurs && command !== '' ? [`${pid} ${command}`] : [];
      } catch {
        // Gone meanwhile.
        return [];
      }
    });
}
