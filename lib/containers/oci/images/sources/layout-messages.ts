import { z } from 'zod';

/**
 * The wire of OCI images (OCI image specification 1.1, with the names that Docker gave the same things before): nothing
 * else spells a media type or a key of them.
 */

const digestPattern = /^sha256:[0-9a-f]{64}$/;

const descriptorSchema = z.object({
  mediaType: z.string(),
  digest: z.string().regex(digestPattern, 'is no SHA-256 digest'),
  size: z.int().nonnegative(),
});

/** What a blob is called, and what it must be. */
export type Descriptor = z.infer<typeof descriptorSchema>;

const platformSchema = z.object({ architecture: z.string(), os: z.string(), variant: z.string().optional() });

const annotationsSchema = z.record(z.string(), z.string()).nullish();

export const indexSchema = z.object({
  schemaVersion: z.literal(2),
  manifests: z.array(descriptorSchema.extend({ platform: platformSchema.optional(), annotations: annotationsSchema })),
});

export type Index = z.infer<typeof indexSchema>;

export const manifestSchema = z.object({
  schemaVersion: z.literal(2),
  config: descriptorSchema,
  layers: z.array(descriptorSchema),
  annotations: annotationsSchema,
});

export type Manifest = z.infer<typeof manifestSchema>;

const environmentEntry = z.string().regex(/^[^=\0]+=[^\0]*$/, 'is not NAME=value');

export const configSchema = z.object({
  config: z.object({ Env: z.array(environmentEntry).nullish(), WorkingDir: z.string().nullish() }).nullish(),
  rootfs: z.object({
    type: z.literal('layers'),
    diff_ids: z.array(z.string().regex(digestPattern, 'is no SHA-256 digest')),
  }),
});

export type ImageConfig = z.infer<typeof configSchema>;

/** The annotation of an index entry that holds the tag. */
export const tagAnnotation = 'org.opencontainers.image.ref.name';

const indexTypes = new Set([
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
]);

const manifestTypes = new Set([
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
]);

const configTypes = new Set([
  'application/vnd.oci.image.config.v1+json',
  'application/vnd.docker.container.image.v1+json',
]);

const layerType =
  /^application\/vnd\.(oci\.image\.layer\.(nondistributable\.)?v1\.tar(\+gzip|\+zstd)?|docker\.image\.rootfs\.(foreign\.)?diff\.tar(\.gzip|\.zstd)?)$/;

/** Whether a descriptor leads to something of this kind. */
export const leadsTo = {
  index: ({ mediaType }: Descriptor) => indexTypes.has(mediaType),
  manifest: ({ mediaType }: Descriptor) => manifestTypes.has(mediaType),
  config: ({ mediaType }: Descriptor) => configTypes.has(mediaType),
  layer: ({ mediaType }: Descriptor) => layerType.test(mediaType),
};

/** The digest without the name of its algorithm. */
export function hexOf({ digest }: Descriptor): string {
  return digest.slice('sha256:'.length);
}
