"""Check the operations of an untrusted export before TensorFlow loads it.

A SavedModel is a program: its operations can read and write files, and TensorFlow runs some of them while it loads.
Every operation that a call can reach has to be in the list below. `saved_model_cli scan` and modelscan, the tools for
this, know a few forbidden operations and let all others pass. If you change the model, you may have to add one;
never add an operation that reads or writes files, opens connections or calls Python.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ser_keras.errors import InputError

_CALLS = "Case If PartitionedCall StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile While"
_WEIGHTS = "AssignVariableOp DisableCopyOnRead ReadVariableOp ResourceGather VarHandleOp VarIsInitializedOp"
_NUMBERS = """
    Abs AddN AddV2 Atan2 BiasAdd BitwiseAnd BitwiseOr BitwiseXor Cast Ceil ClipByValue Complex ComplexAbs Conj Cos Cosh
    Digamma Div DivNoNan Elu Erf Erfc Exp Expm1 Floor FloorDiv FloorMod Imag Inv Invert IsFinite IsInf IsNan LeakyRelu
    LeftShift Lgamma Log Log1p LogSoftmax Maximum Minimum Mod Mul MulNoNan Neg Pow Real RealDiv Reciprocal Relu Relu6
    RightShift Rint Round Rsqrt Selu Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Square SquaredDifference Sub
    Tan Tanh TruncateDiv TruncateMod Xdivy Xlog1py Xlogy
"""
_TRUTH = """
    All Any ApproximateEqual Equal Greater GreaterEqual Less LessEqual LogicalAnd LogicalNot LogicalOr NotEqual Select
    SelectV2 Where
"""
_SUMS = """
    ArgMax ArgMin AvgPool BatchMatMulV2 BatchMatMulV3 Bincount Conv2D Cumprod Cumsum CumulativeLogsumexp DenseBincount
    DepthwiseConv2dNative Einsum EuclideanNorm FusedBatchNormV3 InTopKV2 L2Loss LRN LowerBound MatMul Max MaxPool Mean
    Min Prod SegmentMax SegmentMean SegmentMin SegmentSum SortV2 SparseDenseMatMul Sum TopKV2 UnsortedSegmentMax
    UnsortedSegmentMin UnsortedSegmentSum UpperBound
"""
_TRANSFORMS = "BatchFFT FFT FFT2D IFFT IFFT2D IRFFT IRFFT2D RFFT RFFT2D"
_SHAPES = """
    BatchToSpaceND Bitcast BroadcastArgs BroadcastGradientArgs BroadcastTo ConcatV2 Const DepthToSpace DynamicPartition
    DynamicStitch EnsureShape ExpandDims Fill GatherNd GatherV2 Identity IdentityN LinSpace MatrixBandPart MatrixDiagV3
    MirrorPad NoOp OneHot OnesLike Pack Pad PadV2 Placeholder PlaceholderWithDefault Range Rank Reshape ReverseSequence
    ReverseV2 Roll ScatterNd Shape ShapeN Size Slice SpaceToBatchND SpaceToDepth Split SplitV Squeeze StopGradient
    StridedSlice TensorScatterAdd TensorScatterUpdate Tile Transpose Unique Unpack ZerosLike
"""
_LISTS = """
    EmptyTensorList RaggedGather RaggedRange RaggedTensorFromVariant RaggedTensorToTensor RaggedTensorToVariant
    TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem TensorListLength
    TensorListPopBack TensorListPushBack TensorListReserve TensorListResize TensorListScatterV2 TensorListSetItem
    TensorListStack
"""
_TEXTS = """
    AsString DecodePaddedRaw DecodeRaw ReduceJoin RegexFullMatch RegexReplace StaticRegexFullMatch StaticRegexReplace
    StringFormat StringJoin StringLength StringLower StringSplit StringSplitV2 StringStrip StringToNumber StringUpper
    Substr UnicodeTranscode UnsortedSegmentJoin
"""
ALLOWED_OPS = frozenset(
    " ".join((_CALLS, _WEIGHTS, _NUMBERS, _TRUTH, _SUMS, _TRANSFORMS, _SHAPES, _LISTS, _TEXTS)).split()
)
"""Names of the operations that only compute."""


def check_graph(directory: str | Path) -> None:
    """Refuse a SavedModel whose functions reach an operation outside `ALLOWED_OPS`.

    Args:
        directory: of the SavedModel.

    Raises:
        InputError: it holds another operation, is damaged, or was written by TensorFlow 1.
    """
    for meta in _meta_graphs(Path(directory, "saved_model.pb")):
        if strange := sorted(set(_reachable_ops(meta)) - ALLOWED_OPS):
            raise InputError(
                f"{directory}: its graph holds {', '.join(strange)[:200]}, which a model of ser_keras never does; "
                "it was not loaded"
            )


def _meta_graphs(path: Path) -> list[Any]:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        graphs = saved_model_pb2.SavedModel.FromString(path.read_bytes()).meta_graphs
    except (OSError, DecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); expected a SavedModel of export_model") from error
    if not graphs or not all(each.object_graph_def.nodes for each in graphs):  # TensorFlow 1 runs the graph itself
        raise InputError(f"{path}: not a SavedModel of TensorFlow 2; expected one of export_model")
    return graphs


def _reachable_ops(meta: Any) -> Iterator[str]:
    """Yield the operations of every function that loading or calling can reach.

    The graph around the functions, which saves and restores weights, is not run by TensorFlow 2.
    """
    functions = {each.signature.name: each for each in meta.graph_def.library.function}
    waiting = list(meta.object_graph_def.concrete_functions)
    while waiting:
        function = functions.pop(waiting.pop(), None)
        for node in function.node_def if function else ():
            yield node.op
            waiting.append(node.op)  # TensorFlow takes a function of that name before its own operation
            for value in node.attr.values():
                waiting += [value.func.name, *(each.name for each in value.list.func)]
