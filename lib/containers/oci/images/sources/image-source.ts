import { createHash } from 'node:crypto';
import type { LayerArchive } from '../layers/layer-unpacking.js';

/** A layer of an image, lowest first: a directory of the host that is used as it is, or an archive to be unpacked. */
export type SourceLayer =
  | { kind: 'directory'; directory: string; identity: string }
  | { kind: 'archive'; chainId: string; archive: LayerArchive }
  /** A directory whose files get other owners; its content as an archive where that cannot be had without a copy. */
  | { kind: 'reowned'; directory: string; chainId: string; archive: LayerArchive };

/** What an image consists of, before anything of it is unpacked. */
export interface ImageSource {
  layers: SourceLayer[];
  /** `NAME=value` entries that the environment of its processes starts with. */
  env: string[];
  /** Absolute path of where its processes start; absent: nothing is said. */
  workingDirectory?: string;
  annotations: Record<string, string>;
}

/**
 * The name of a layer together with all that lies below it: that of the OCI specification (`image-spec/config.md`,
 * ChainID), so that images which have their lowest layers in common share them.
 *
 * @param below chain id of the layer below; absent for the lowest one
 * @param layer what the layer itself is known by, `sha256:<diff id>` for one of an OCI image
 * @returns lower-case hexadecimal
 */
export function chainId(below: string | undefined, layer: string): string {
  if (below === undefined) return layer.startsWith('sha256:') ? layer.slice('sha256:'.length) : sha256(layer);
  return sha256(`sha256:${below} ${layer}`);
}

/** SHA-256 of a text, lower-case hexadecimal. */
export function sha256(text: string | Buffer): string {
  return createHash('sha256').update(text).digest('hex');
}
