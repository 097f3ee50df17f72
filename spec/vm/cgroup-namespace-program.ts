/**
 * A program in a control group namespace of its own, at whose top it sits itself: starts control groups of an engine,
 * limits one, and tells what it found as JSON. Its one argument is the engine's tag.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { createCgroups } from '../../lib/containers/oci/cgroups/cgroups.js';
import { silentLogger } from '../../lib/logging/logger.js';

const root = '/sys/fs/cgroup';
const tag = process.argv[2]!;
const cgroups = createCgroups({ tag, logger: silentLogger });
await cgroups.start();
const group = `${root}/isthmus-${tag}/app`;
const { path } = await cgroups.place('app', { memoryBytes: 2 ** 26, cpuShares: 512, maxPids: 5 });
mkdirSync(root + path);
const read = (path: string) => readFileSync(path, 'utf8').trim();
const found = {
  version: cgroups.version,
  group: read('/proc/self/cgroup'),
  controllers: read(`${root}${path}/cgroup.controllers`),
  pidsMax: read(`${group}/pids.max`),
};
await cgroups.remove('app');
const left = await cgroups.list();
await cgroups.teardown();
process.stdout.write(JSON.stringify({ ...found, left }));
