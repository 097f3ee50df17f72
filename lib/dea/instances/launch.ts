import type { DropletCache } from '../../cell/droplet-cache.js';
import type { ContainerProcess } from '../../containers/engine.js';
import type { InstanceAttributes } from './attributes.js';
import type { InstanceContainer } from './instance-container.js';
import type { KnownDroplets } from './known-droplets.js';

export interface LaunchOptions {
  attributes: InstanceAttributes;
  container: InstanceContainer;
  droplets: DropletCache;
  knownDroplets: KnownDroplets;
  /** Host path of the operator's hook. */
  beforeStartHook: string | undefined;
  startedAt: Date;
  signal: AbortSignal;
}

export interface LaunchedApp {
  process: ContainerProcess;
  /** The process extracts the droplet before it becomes the app. */
  isUnpacking: boolean;
}

/**
 * From the droplet to the app's process (docs/protocol/dea.md §9, steps 2 to 5).
 * @throws the first error of any step, once nothing goes on behind its back; the signal's reason
 */
export async function launch(options: LaunchOptions): Promise<LaunchedApp> {
  const { droplets, container, attributes, signal } = options;
  const { dropletSha1: sha1, dropletUri: url } = attributes;
  if (sha1 === null) throw new Error('sha cannot be nil');
  // The directory is mounted into the container, which is made while the droplet may still be on its way.
  const dropletDirectory = await droplets.prepareDirectory(sha1);
  const [droplet] = await bothOrFirstError(
    droplets.acquire({ sha1, url, signal }),
    container.create(dropletDirectory, signal),
  );
  return startProcess(droplet.path, sha1, options);
}

/** Two steps with a hook between them, or one for a droplet that is known. */
async function startProcess(
  droplet: string,
  sha1: string,
  { container, knownDroplets, beforeStartHook, startedAt, signal }: LaunchOptions,
): Promise<LaunchedApp> {
  const known = knownDroplets.stagingInfo(sha1);
  if (known !== undefined && beforeStartHook === undefined) {
    return { process: await container.spawnApp(startedAt, { droplet, stagingInfo: known }), isUnpacking: true };
  }
  await container.install(droplet);
  signal.throwIfAborted();
  const stagingInfo = await container.stagingInfo();
  if (stagingInfo !== undefined) knownDroplets.remember(sha1, stagingInfo);
  await container.runHook(beforeStartHook, startedAt);
  signal.throwIfAborted();
  return { process: await container.spawnApp(startedAt), isUnpacking: false };
}

/** Lets both run to their end. @throws the first error */
async function bothOrFirstError<A, B>(first: Promise<A>, second: Promise<B>): Promise<[A, B]> {
  const [a, b] = await Promise.allSettled([first, second]);
  if (a.status === 'rejected') throw a.reason;
  if (b.status === 'rejected') throw b.reason;
  return [a.value, b.value];
}
