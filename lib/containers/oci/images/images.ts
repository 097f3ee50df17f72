import { join } from 'node:path';
import { errorData, type Logger } from '../../../logging/logger.js';
import { abortable } from '../../../process/abortable.js';
import { ImageError, InvalidSpecError } from '../../errors.js';
import type { Image, ImageOptions, Images } from '../ports.js';
import { type IdMap, idMapTag } from '../users/id-map.js';
import { type ImageReference, parseImageReference } from './image-reference.js';
import { LayerStore, type StoredLayer } from './layers/layer-store.js';
import { unpackLayer } from './layers/layer-unpacking.js';
import { type LowerLayer, LowerView } from './layers/lower-view.js';
import { reown } from './layers/reowning.js';
import { hostLayer, rawDirectory } from './sources/host-path.js';
import type { ImageSource, SourceLayer } from './sources/image-source.js';
import { readLayout } from './sources/layout.js';
import { preloadedImage } from './sources/preloaded.js';
import { RegistryImages } from './sources/registry.js';

export interface ImagesOptions {
  /** Where layers lie; nothing else may be in it. Made when missing. */
  directory: string;
  /**
   * Where layers lie that hold owners of files only; best in memory: they are many files without content.
   * @default `<directory>/owners`
   */
  ownersDirectory?: string;
  /** What containers are made from whose description names no image. */
  defaultRootfs?: string;
  /** Registry of `docker:///...`. @default that of Docker */
  dockerRegistry?: string;
  /** Registries (`host` or `host:port`) that may be spoken to without TLS. @default none */
  insecureRegistries?: readonly string[];
  /** Layers that no container has are kept up to this size. @default 10 GiB */
  keptBytes?: number;
  logger: Logger;
}

const defaultKeptBytes = 10 * 1024 ** 3;
/** They take next to nothing: each is a directory of the host. */
const keptOwnersBytes = 16 * 1024 ** 2;
const ownersSuffix = '-owners';

/** A layer as the overlay gets it: one of the store, which has a reference for it, or a directory of the host. */
interface Laid extends LowerLayer {
  identity: string;
  stored?: StoredLayer;
  /** It has nothing to show but what a layer above shows of it. */
  isCovered?: boolean;
}

/** Image URIs, turned into layers that an overlay can be laid over; see `Images` in `ports.ts`. */
export function createImages(options: ImagesOptions): Images {
  return new ImageStore(options);
}

class ImageStore implements Images {
  readonly #options: ImagesOptions;
  readonly #logger: Logger;
  readonly #store: LayerStore;
  readonly #owners: LayerStore;
  readonly #registryImages: RegistryImages;
  readonly #stopping = new AbortController();
  /** What is being fetched, by all that tells it from other images. */
  readonly #acquisitions = new Map<string, Promise<Image>>();
  #collecting: Promise<void> | undefined;
  #isCollectionWanted = false;
  #canReown = true;

  constructor(options: ImagesOptions) {
    const { directory, ownersDirectory = join(directory, 'owners'), insecureRegistries = [], logger } = options;
    this.#options = options;
    this.#logger = logger;
    this.#store = new LayerStore({ directory, logger });
    this.#owners = new LayerStore({ directory: ownersDirectory, logger });
    this.#registryImages = new RegistryImages({ directory, insecureRegistries, logger });
  }

  async start(): Promise<void> {
    await Promise.all([this.#store.start(), this.#owners.start(), this.#registryImages.start()]);
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new ImageError('the container engine is stopping'));
    await Promise.allSettled(this.#acquisitions.values());
    await this.#collecting;
    await Promise.all([this.#store.settle(), this.#owners.settle()]);
  }

  async acquire(uri: string | undefined, options: ImageOptions = {}): Promise<Image> {
    const { idMap, credentials, signal } = options;
    const reference = this.#referenceOf(uri);
    const key = JSON.stringify([reference, idMap ?? null, credentials]);
    const acquisition = this.#acquisitions.get(key) ?? this.#begin(key, reference, idMap, credentials);
    // Somebody who gives up does not end the work that others may wait for.
    const image = await abortable(acquisition, signal);
    this.retain(image.layers);
    return structuredClone(image);
  }

  retain(layers: readonly string[]): void {
    const { owners, others } = parted(layers);
    this.#owners.retain(owners);
    try {
      this.#store.retain(others);
    } catch (error) {
      this.#owners.release(owners);
      throw error;
    }
  }

  release(layers: readonly string[]): void {
    if (layers.length === 0) return;
    const { owners, others } = parted(layers);
    this.#owners.release(owners);
    this.#store.release(others);
    this.collect().catch((error: unknown) => {
      this.#logger.warn('containers.images.collection-failed', errorData(error));
    });
  }

  async collect(): Promise<void> {
    const { keptBytes = defaultKeptBytes } = this.#options;
    if (this.#stopping.signal.aborted) return;
    this.#isCollectionWanted = true;
    this.#collecting ??= this.#collectWhileWanted(keptBytes);
    await this.#collecting;
  }

  /** References that were given up during a collection make another one necessary. */
  async #collectWhileWanted(keptBytes: number): Promise<void> {
    try {
      while (this.#isCollectionWanted) {
        this.#isCollectionWanted = false;
        await this.#owners.collect(keptOwnersBytes);
        const removed = await this.#store.collect(keptBytes);
        if (removed === 0) continue;
        const stored = new Set(this.#store.names.map(chainIdOf));
        await this.#registryImages.forget((chainId) => stored.has(chainId));
      }
    } finally {
      this.#collecting = undefined;
    }
  }

  #referenceOf(uri: string | undefined): ImageReference {
    const { defaultRootfs, dockerRegistry } = this.#options;
    const wanted = uri || defaultRootfs;
    if (!wanted) throw new InvalidSpecError('rootfs: must be given, because there is no default (defaultRootfs)');
    return parseImageReference(wanted, dockerRegistry);
  }

  #begin(
    key: string,
    reference: ImageReference,
    idMap: IdMap | undefined,
    credentials: ImageOptions['credentials'],
  ): Promise<Image> {
    this.#stopping.signal.throwIfAborted();
    const acquisition = this.#fetch(reference, idMap, credentials);
    this.#acquisitions.set(key, acquisition);
    acquisition.then(
      // Those who wait have taken references of their own before the next turn of the event loop.
      ({ layers }) => setImmediate(() => this.release(layers)),
      () => {},
    );
    acquisition.catch(() => {}).finally(() => this.#acquisitions.delete(key));
    return acquisition;
  }

  async #fetch(
    reference: ImageReference,
    idMap: IdMap | undefined,
    credentials: ImageOptions['credentials'],
  ): Promise<Image> {
    const isCopied = idMap !== undefined;
    const plain = { env: [], annotations: {} };
    switch (reference.kind) {
      case 'raw':
        return {
          ...(await this.#lay({ layers: [await rawDirectory(reference.path)], ...plain }, idMap)),
          isRaw: true,
        };
      case 'path':
        return this.#lay({ layers: [await hostLayer(reference.path, { isCopied })], ...plain }, idMap);
      case 'layout':
        return this.#lay(await readLayout(reference.path, reference.tag), idMap);
      case 'preloaded':
        return this.#lay(await preloadedImage(reference, { isCopied }), idMap);
      case 'registry': {
        const { signal } = this.#stopping;
        const hasLayer = (chainId: string) => this.#store.get(layerName(chainId, idMap)) !== undefined;
        const access = { hasLayer, signal, ...(credentials && { credentials }) };
        return this.#registryImages.with(reference, access, (image) => this.#lay(image, idMap));
      }
    }
  }

  /** Unpacks what is not there, from below, and takes a reference to each layer. */
  async #lay(image: ImageSource, idMap: IdMap | undefined): Promise<Image> {
    const { layers, env, workingDirectory, annotations } = image;
    const laid: Laid[] = [];
    try {
      for (const layer of layers) laid.unshift(...(await this.#layOne(layer, laid, idMap)));
    } catch (error) {
      this.release(storedAmong(laid).map(({ name }) => name));
      throw error;
    }
    const stored = storedAmong(laid);
    const bytes = stored.reduce((sum, layer) => sum + layer.shownBytes, 0);
    const isCounted = laid.every((layer) => layer.stored !== undefined || layer.isCovered);
    return {
      identity: laid.map((layer) => layer.identity).join(' '),
      lowerDirectories: laid.map((layer) => layer.directory),
      layers: stored.map(({ name }) => name),
      ...(isCounted && { bytes }),
      env,
      ...(workingDirectory !== undefined && { workingDirectory }),
      annotations,
      isRaw: false,
      hasMetacopy: laid.some(({ isCovered }) => isCovered),
    };
  }

  /** Top first. */
  async #layOne(layer: SourceLayer, below: Laid[], idMap: IdMap | undefined): Promise<Laid[]> {
    if (layer.kind === 'directory') return [{ ...layer, opaque: new Set() }];
    if (layer.kind === 'reowned' && idMap && this.#canReown) {
      const laid = await this.#reown(layer, idMap);
      if (laid) return laid;
    }
    const { archive, chainId } = layer;
    const { signal } = this.#stopping;
    const lower = new LowerView(below);
    const stored = await this.#store.obtain(layerName(chainId, idMap), archive.name, (directory) =>
      unpackLayer(archive, directory, { lower, signal, ...(idMap && { idMap }) }),
    );
    return [{ ...stored, identity: stored.name, stored }];
  }

  /** Undefined where it cannot be done: from then on directories are copied. */
  async #reown(
    { directory, chainId }: Extract<SourceLayer, { kind: 'reowned' }>,
    idMap: IdMap,
  ): Promise<Laid[] | undefined> {
    try {
      const name = `${chainId}${tagSuffix(idMap)}${ownersSuffix}`;
      const stored = await this.#owners.obtain(name, directory, async (target) => ({
        opaqueDirectories: [],
        shownBytes: await reown(directory, target, idMap),
      }));
      const covered = { directory, identity: '', opaque: new Set<string>(), isCovered: true };
      return [{ ...stored, identity: stored.name, stored }, covered];
    } catch (error) {
      if (error instanceof ImageError) throw error;
      this.#logger.warn('containers.images.copied-for-owners', { directory, ...errorData(error) });
      this.#canReown = false;
      return undefined;
    }
  }
}

/** Names of layers by the store that has them, in their order. */
function parted(names: readonly string[]): { owners: string[]; others: string[] } {
  const isOwners = (name: string) => name.endsWith(ownersSuffix);
  return { owners: names.filter(isOwners), others: names.filter((name) => !isOwners(name)) };
}

function layerName(chainId: string, idMap: IdMap | undefined): string {
  return idMap ? `${chainId}-shifted${tagSuffix(idMap)}` : chainId;
}

function tagSuffix(idMap: IdMap): string {
  const tag = idMapTag(idMap);
  return tag && `-${tag}`;
}

/** What `layerName` began with. */
function chainIdOf(name: string): string {
  return name.split('-')[0] ?? name;
}

function storedAmong(laid: Laid[]): StoredLayer[] {
  return laid.flatMap(({ stored }) => (stored ? [stored] : []));
}
