import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { z } from 'zod';
import { ImageError } from '../../../errors.js';
import { chainId, type ImageSource, type SourceLayer, sha256 } from './image-source.js';
import {
  configSchema,
  type Descriptor,
  hexOf,
  type Index,
  indexSchema,
  leadsTo,
  type Manifest,
  manifestSchema,
  tagAnnotation,
} from './layout-messages.js';

/** Documents are held in memory; nobody needs larger ones. */
const mostDocumentBytes = 4 * 1024 * 1024;
const mostIndexDepth = 4;
const mostLayers = 500;
const architectures: Partial<Record<NodeJS.Architecture, string>> = { x64: 'amd64', ia32: '386' };

/**
 * Reads an image from an OCI image layout on the disk (OCI image specification 1.1, `image-layout.md`); its layers are
 * only opened when they are asked for.
 *
 * @param tag absent: the layout must hold one image for this machine
 * @throws ImageError naming the document that is missing, damaged or not understood
 */
export async function readLayout(directory: string, tag?: string): Promise<ImageSource> {
  const layout = new Layout(directory);
  const manifest = await layout.manifest(tag);
  return layout.image(manifest);
}

class Layout {
  constructor(private readonly directory: string) {}

  async manifest(tag: string | undefined): Promise<Manifest> {
    const path = join(this.directory, 'index.json');
    const content = await readAtMost(path, mostDocumentBytes).catch((cause: unknown) => {
      throw new ImageError(`${this.directory} is no OCI image layout: it has no readable index.json`, { cause });
    });
    const index = this.parse(indexSchema, content, 'index.json');
    const candidates =
      tag === undefined
        ? index.manifests
        : index.manifests.filter(({ annotations }) => annotations?.[tagAnnotation] === tag);
    if (candidates.length === 0) throw new ImageError(`${this.directory} has no image ${tag ?? 'at all'}`);
    const manifests = await this.forThisMachine(candidates, 0);
    const [descriptor, another] = manifests;
    if (!descriptor) throw new ImageError(`${this.directory} has no image for ${architecture()}`);
    if (another) throw new ImageError(`${this.directory} has several images: name one as oci://${this.directory}:TAG`);
    return this.document(descriptor, manifestSchema, 'manifest');
  }

  async image(manifest: Manifest): Promise<ImageSource> {
    if (!leadsTo.config(manifest.config)) throw this.strange(manifest.config);
    const { config, rootfs } = await this.document(manifest.config, configSchema, 'config');
    const diffIds = rootfs.diff_ids;
    if (diffIds.length !== manifest.layers.length) {
      throw new ImageError(
        `${this.directory}: the config tells of ${diffIds.length} layers, the manifest of ${manifest.layers.length}`,
      );
    }
    if (diffIds.length === 0) throw new ImageError(`${this.directory}: the image has no layers`);
    if (diffIds.length > mostLayers) throw new ImageError(`${this.directory}: more than ${mostLayers} layers`);
    const layers: SourceLayer[] = [];
    let below: string | undefined;
    for (const [index, descriptor] of manifest.layers.entries()) {
      if (!leadsTo.layer(descriptor)) throw this.strange(descriptor);
      const diffId = diffIds[index]!;
      below = chainId(below, diffId);
      layers.push({ kind: 'archive', chainId: below, archive: this.archive(descriptor, diffId) });
    }
    const { Env: env, WorkingDir: workingDirectory } = config ?? {};
    return {
      layers,
      env: env ?? [],
      ...(workingDirectory?.startsWith('/') && { workingDirectory }),
      annotations: manifest.annotations ?? {},
    };
  }

  archive(descriptor: Descriptor, diffId: string) {
    return {
      name: `layer ${descriptor.digest}`,
      sha256: hexOf(descriptor),
      size: descriptor.size,
      diffId: diffId.slice('sha256:'.length),
      open: () => this.openBlob(descriptor),
    };
  }

  /** Manifests among the descriptors and in the indexes that they lead to; of several platforms only ours. */
  async forThisMachine(descriptors: Index['manifests'], depth: number): Promise<Descriptor[]> {
    if (depth > mostIndexDepth) throw new ImageError(`${this.directory}: indexes lead to indexes without end`);
    const found: Descriptor[] = [];
    for (const descriptor of descriptors) {
      const { platform } = descriptor;
      if (platform && (platform.os !== 'linux' || platform.architecture !== architecture())) continue;
      if (leadsTo.manifest(descriptor)) found.push(descriptor);
      else if (leadsTo.index(descriptor)) {
        const index = await this.document(descriptor, indexSchema, 'index');
        found.push(...(await this.forThisMachine(index.manifests, depth + 1)));
      } else throw this.strange(descriptor);
    }
    return found;
  }

  async document<Document>(descriptor: Descriptor, schema: z.ZodType<Document>, what: string): Promise<Document> {
    const name = `${what} ${descriptor.digest}`;
    if (descriptor.size > mostDocumentBytes) throw new ImageError(`${this.directory}: ${name} is too large`);
    const content = await readAtMost(this.blobPath(descriptor), mostDocumentBytes).catch((cause: unknown) => {
      throw new ImageError(`${this.directory}: ${name} cannot be read`, { cause });
    });
    if (content.length !== descriptor.size || sha256(content) !== hexOf(descriptor)) {
      throw new ImageError(`${this.directory}: ${name} is not what its digest and size say`);
    }
    return this.parse(schema, content, name);
  }

  parse<Document>(schema: z.ZodType<Document>, content: Buffer, name: string): Document {
    let json: unknown;
    try {
      json = JSON.parse(content.toString());
    } catch (cause) {
      throw new ImageError(`${this.directory}: ${name} is no JSON`, { cause });
    }
    const parsed = schema.safeParse(json);
    if (parsed.success) return parsed.data;
    const [issue] = parsed.error.issues;
    throw new ImageError(`${this.directory}: ${name}: ${issue?.path.join('.')}: ${issue?.message}`);
  }

  async *openBlob(descriptor: Descriptor): AsyncGenerator<Buffer> {
    const file = await openFile(this.blobPath(descriptor)).catch((cause: unknown) => {
      throw new ImageError('its blob is missing', { cause });
    });
    yield* file.createReadStream() as AsyncIterable<Buffer>;
  }

  blobPath(descriptor: Descriptor): string {
    return join(this.directory, 'blobs', 'sha256', hexOf(descriptor));
  }

  strange({ mediaType, digest }: Descriptor): ImageError {
    return new ImageError(`${this.directory}: the media type ${JSON.stringify(mediaType)} of ${digest} is not known`);
  }
}

/** Opens a regular file; nobody waits for the other end of a pipe. */
async function openFile(path: string): Promise<FileHandle> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw new Error(`${path} is no regular file`);
}

async function readAtMost(path: string, limit: number): Promise<Buffer> {
  const file = await openFile(path);
  try {
    const { size } = await file.stat();
    if (size > limit) throw new RangeError(`${path} has more than ${limit} bytes`);
    return await file.readFile();
  } finally {
    await file.close();
  }
}

function architecture(): string {
  return architectures[process.arch] ?? process.arch;
}
