import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeFileAtomically } from '../../../../files/atomic-write.js';
import { errorData, type Logger } from '../../../../logging/logger.js';
import { ImageError } from '../../../errors.js';
import type { RegistryReference } from '../image-reference.js';
import { type ImageSource, type SourceLayer, sha256 } from './image-source.js';
import { readLayout } from './layout.js';
import { downloadImage, fetchManifest, type RegistryCredentials, type SkopeoRequest } from './skopeo.js';

export interface RegistryImagesOptions {
  /** Holds what is known of images, and downloads for as long as they are needed. */
  directory: string;
  /** Registries (`host` or `host:port`) that may be spoken to without TLS. */
  insecureRegistries: readonly string[];
  logger: Logger;
}

/** Whether a layer is unpacked already. */
export type HasLayer = (chainId: string) => boolean;

export interface RegistryAccess {
  credentials?: RegistryCredentials;
  hasLayer: HasLayer;
  signal: AbortSignal;
}

const removalRetries = 5;

const recordSchema = z.object({
  version: z.literal(1),
  /** Lowest first. */
  chainIds: z.array(z.string()).min(1),
  env: z.array(z.string()),
  workingDirectory: z.string().optional(),
  annotations: z.record(z.string(), z.string()),
});

/**
 * Images of registries. A registry is always asked what a reference means now, and whether the client may have it; what
 * it means is only downloaded when not all of it was unpacked before.
 *
 *     <directory>/images/<hash of the manifest>.json   the layers and the metadata of an image
 *     <directory>/downloads/<random>/                  an image layout; emptied at start
 */
export class RegistryImages {
  readonly #options: RegistryImagesOptions;
  readonly #records: string;
  readonly #downloads: string;

  constructor(options: RegistryImagesOptions) {
    this.#options = options;
    this.#records = join(options.directory, 'images');
    this.#downloads = join(options.directory, 'downloads');
  }

  async start(): Promise<void> {
    // A program of a killed engine may still be writing there, for a moment.
    await rm(this.#downloads, { recursive: true, force: true, maxRetries: removalRetries });
    for (const directory of [this.#records, this.#downloads]) await mkdir(directory, { recursive: true, mode: 0o700 });
  }

  /**
   * Lets `work` have an image; what was downloaded for it is removed afterwards.
   *
   * @throws ImageError when the registry does not give it, HostRequirementError without skopeo
   */
  async with<Result>(
    reference: RegistryReference,
    { hasLayer, ...access }: RegistryAccess,
    work: (image: ImageSource) => Promise<Result>,
  ): Promise<Result> {
    const { registry } = reference;
    const scratch = join(this.#downloads, randomBytes(6).toString('hex'));
    await mkdir(scratch, { mode: 0o700 });
    const isInsecure = this.#options.insecureRegistries.includes(registry);
    const request: SkopeoRequest = { ...access, reference, isInsecure, scratch };
    try {
      const digest = sha256(await fetchManifest(request));
      const known = await this.#known(digest, hasLayer);
      if (known) return await work(known);
      // By its digest: a tag may mean something else meanwhile.
      const pinned: RegistryReference = { ...reference, version: `@sha256:${digest}` };
      const image = await readLayout(await downloadImage({ ...request, reference: pinned }));
      const result = await work(image);
      await this.#attempt('remember', () => this.#remember(digest, image));
      return result;
    } finally {
      await this.#attempt('clear', () => rm(scratch, { recursive: true, force: true }));
    }
  }

  /** Forgets images of which layers were removed. */
  async forget(hasLayer: HasLayer): Promise<void> {
    for (const name of await readdir(this.#records)) {
      const digest = name.replace(/\.json$/, '');
      if (!(await this.#known(digest, hasLayer))) await rm(join(this.#records, name), { force: true });
    }
  }

  /** An image that is there is given, whatever becomes of what only spares work later. */
  async #attempt(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#options.logger.warn(`containers.images.${what}-failed`, errorData(error));
    }
  }

  async #known(digest: string, hasLayer: HasLayer): Promise<ImageSource | undefined> {
    const record = await this.#read(digest);
    if (!record?.chainIds.every(hasLayer)) return undefined;
    const { chainIds, env, workingDirectory, annotations } = record;
    const layers = chainIds.map(unpackedBefore);
    return { layers, env, ...(workingDirectory !== undefined && { workingDirectory }), annotations };
  }

  /** One that is missing or damaged is made anew. */
  async #read(digest: string): Promise<z.infer<typeof recordSchema> | undefined> {
    try {
      return recordSchema.parse(JSON.parse(await readFile(this.#recordPath(digest), 'utf8')));
    } catch {
      return undefined;
    }
  }

  async #remember(digest: string, image: ImageSource): Promise<void> {
    const { layers, env, workingDirectory, annotations } = image;
    const chainIds = layers.flatMap((layer) => (layer.kind === 'archive' ? [layer.chainId] : []));
    const record = { version: 1, chainIds, env, workingDirectory, annotations };
    await writeFileAtomically(this.#recordPath(digest), JSON.stringify(record));
  }

  #recordPath(digest: string): string {
    return join(this.#records, `${digest}.json`);
  }
}

/** A layer that need not be had again. */
function unpackedBefore(chainId: string): SourceLayer {
  const name = `layer ${chainId}`;
  // biome-ignore lint/correctness/useYield: it has nothing to give
  async function* open(): AsyncGenerator<Buffer> {
    throw new ImageError('it was removed a moment ago');
  }
  return { kind: 'archive', chainId, archive: { name, open } };
}
