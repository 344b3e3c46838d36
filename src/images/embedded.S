/* The worker binaries, inside cube, and the table of them that images.c reads: architecture,
 * SHA-256 in hex, begin, end; closed by zeros; and the worker's sources, of which others are built at need. The Makefile says which there are by
 * -DCUBE_WORKER_<arch>=<sha256>. */
	.macro worker arch, sha256
	.section .rodata
	.balign 16
begin_\arch:
	.incbin "\arch/cube-worker"
end_\arch:
name_\arch:
	.asciz "\arch"
sha256_\arch:
	.asciz "\sha256"
	.section .data.rel.ro,"aw"
	.quad name_\arch, sha256_\arch, begin_\arch, end_\arch
	.endm

	.section .rodata
	.globl cube_worker_sources_begin, cube_worker_sources_end
cube_worker_sources_begin:
	.incbin "sources"
cube_worker_sources_end:
	.byte 0

	.section .data.rel.ro,"aw"
	.balign 8
	.globl cube_worker_images
cube_worker_images:
#ifdef CUBE_WORKER_x86_64
	worker x86_64, CUBE_WORKER_x86_64
#endif
#ifdef CUBE_WORKER_aarch64
	worker aarch64, CUBE_WORKER_aarch64
#endif
	.section .data.rel.ro,"aw"
	.quad 0, 0, 0, 0
	.section .note.GNU-stack,"",%progbits
