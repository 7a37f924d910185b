// The table of one instruction path.
#include "kernels/cpu/isa/table.h"

#include "kernels/cpu/isa/parts.h"

#define HONE_STRING_INNER(x) #x
#define HONE_STRING(x) HONE_STRING_INNER(x)

namespace hone::kernels::cpu::HONE_ISA {

const KernelTable kTable = {
    .name = HONE_STRING(HONE_ISA),
    .gemm_f32 = GemmF32,
    .gemm_bf16 = GemmBf16,
#if defined(__AMX_BF16__)
    .bf16_operand = Bf16Operand::kTiles,
#else
    .bf16_operand = Bf16Product::kAPerStep == 1 ? Bf16Operand::kPairRows : Bf16Operand::kFloatRows,
#endif
    .convert_operand = ConvertOperand,
    .pack_rows_f32 = PackRowsF32,
    .pack_rows_bf16 = PackRowsBf16,
    .pack_columns_f32 = PackColumnsF32,
    .pack_columns_bf16 = PackColumnsBf16,
    .transpose_blocks = TransposeBlocks,
    .column_sums = ColumnSums,
    .attention_tile = AttendTile,
    .attention_backward = AttendBackward,
    .rms_norm = RmsNormRows,
    .rms_norm_backward = RmsNormBackwardRows,
    .swiglu = SwiGluRow,
    .swiglu_backward = SwiGluBackwardRow,
    .rotate = RotateToken,
    .add = AddTo,
    .round_to_bf16 = RoundArrayToBf16,
    .expand_bf16 = ExpandBf16Array,
    .sum_of_squares = SquaresOf,
    .adamw = AdamWRange,
    .softmax_partial = SoftmaxPartial,
    .log_prob_gradient = LogProbGradient,
    .exponentials = Exponentials,
};

}  // namespace hone::kernels::cpu::HONE_ISA
