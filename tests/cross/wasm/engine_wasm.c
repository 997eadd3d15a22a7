/* The engine as a WebAssembly module without Python. */
#define VAECODEC_ENGINE_ONLY
#include "../../../codec/vaecodec/engine/engine.c"

/* Runs all stages in this thread. Returns 0, or 1 if there is no kernel of this name. */
int run_network(const char *kernel, const Stage *stages, int stage_count, const Layer *layers, const Shape *shapes,
                const char *constants, const char *gains, int64_t *progress, int16_t *const *buffers, int rows,
                int columns, int share)
{
    Run run = {find_kernel(kernel), layers, shapes, buffers, constants, gains, rows, columns};
    if (!run.kernel) return 1;
    run_shares(&run, stages, stage_count, share, progress);
    return 0;
}
