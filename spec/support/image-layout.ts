import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { type Header, pack } from 'tar-stream';

/** An entry of a layer: a file by its content, or anything by its header. */
export type LayerEntry = Partial<Header> & { name: string; content?: string | Buffer };

/** A tar archive with these entries, in this order, with nothing checked. */
export async function tarOf(entries: LayerEntry[]): Promise<Buffer> {
  const archive = pack();
  const whole = buffer(archive);
  for (const { content = '', ...rest } of entries) {
    // The same entries make the same archive, whenever.
    const header = { mtime: new Date(1_700_000_000_000), ...rest };
    const isFile = header.type === undefined || header.type === 'file';
    if (isFile) archive.entry(header, content);
    else archive.entry(header as Header & { name: string });
  }
  archive.finalize();
  return whole;
}

export interface LayoutOptions {
  /** Tags; each stands for the same image. @default ['latest'] */
  tags?: string[];
  env?: string[];
  workingDirectory?: string;
  annotations?: Record<string, string>;
  /** Media type of the layers. @default that of gzip */
  layerType?: string;
  /** Makes a blob of a layer. @default gzip */
  compress?: (layer: Buffer) => Buffer;
  /** Changes documents before they are written. */
  tamper?: { manifest?: (manifest: Manifest) => unknown; config?: (config: ImageConfig) => unknown };
}

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  platform?: { os: string; architecture: string };
  annotations?: Record<string, string>;
}

interface Manifest {
  schemaVersion: number;
  mediaType: string;
  config: Descriptor;
  layers: Descriptor[];
  annotations: Record<string, string>;
}

interface ImageConfig {
  architecture: string;
  os: string;
  config: { Env: string[]; WorkingDir?: string };
  rootfs: { type: string; diff_ids: string[] };
}

/** Writes an OCI image layout with one image of these layers (tar archives), lowest first; gives its manifest's digest. */
export function writeLayout(directory: string, layers: Buffer[], options: LayoutOptions = {}): string {
  const { tags = ['latest'], env = [], annotations = {}, tamper = {} } = options;
  const { workingDirectory } = options;
  const { layerType = 'application/vnd.oci.image.layer.v1.tar+gzip', compress = gzipSync } = options;
  const blobs = join(directory, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const blob = (mediaType: string, content: Buffer): Descriptor => {
    const hex = sha256(content);
    writeFileSync(join(blobs, hex), content);
    return { mediaType, digest: `sha256:${hex}`, size: content.length };
  };
  const document = (mediaType: string, value: unknown) => blob(mediaType, Buffer.from(JSON.stringify(value)));
  const config: ImageConfig = {
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config: { Env: env, ...(workingDirectory !== undefined && { WorkingDir: workingDirectory }) },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => `sha256:${sha256(layer)}`) },
  };
  tamper.config?.(config);
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: document('application/vnd.oci.image.config.v1+json', config),
    layers: layers.map((layer) => blob(layerType, compress(layer))),
    annotations,
  };
  tamper.manifest?.(manifest);
  const descriptor = document(manifest.mediaType, manifest);
  const manifests = tags.map((tag) => ({
    ...descriptor,
    annotations: { 'org.opencontainers.image.ref.name': tag },
  }));
  writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  writeFileSync(join(directory, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  return descriptor.digest;
}

export function sha256(content: Buffer | string): string {
  return createHash('sha256').update(content).digest('hex');
}
