"""Surfaces of segmentation nodes, rendered off-screen with VTK."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.scene import register_converters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.preview.strokes import Stroke
    from dicombridge.preview.subject import Mark

__all__ = ["quiet_vtk", "surface_picture"]

_SMOOTH = 2
_BACKGROUND = ((0.13, 0.14, 0.17), (0.36, 0.39, 0.45))  # bottom, top
_VIEW_FROM = (-0.42, 0.86, 0.28)  # RAS: from the front, the patient's left and a little above
_SEE_THROUGH = 0.42
_BALL_MM = 4.0
_TUBE_MM = 1.0
_FILLED = 0.88  # part of the view that the surfaces take


def surface_picture(
    nodes: Sequence[Any],
    size: tuple[int, int],
    models: Sequence[Any] = (),
    marks: Sequence[Mark] = (),
    strokes: Sequence[Stroke] = (),
) -> NDArray[np.uint8]:
    """Return (rows, columns, 3): closed surfaces of all visible segments, models, points as balls, strokes as tubes.

    The nodes stay as they are: surfaces that they do not have are made on a copy.
    """
    import vtk
    from PIL import Image
    from vtk.util.numpy_support import vtk_to_numpy

    with quiet_vtk():
        renderer = _renderer()
        patient, drawn = _actors(nodes), [_tube(stroke) for stroke in strokes]
        for actor in [*patient, *drawn, *map(_model_actor, models), *map(_ball, marks)]:
            renderer.AddActor(actor)
            # Beams come from a metre away: the view is aimed at the patient, where there is one.
            actor.SetUseBounds(not patient or actor in patient or actor in drawn)
        window = vtk.vtkRenderWindow()
        window.SetOffScreenRendering(1)
        window.SetMultiSamples(0)
        window.SetAlphaBitPlanes(1)
        window.SetSize(size[1] * _SMOOTH, size[0] * _SMOOTH)
        window.AddRenderer(renderer)
        _aim(renderer)
        marker = _add_orientation_cube(window, renderer)
        window.Render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(window)
        grabber.SetInputBufferTypeToRGB()
        grabber.ReadFrontBufferOff()
        grabber.Update()
        image = grabber.GetOutput()
        columns, rows, _ = image.GetDimensions()
        pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, 3)[::-1].copy()
        window.Finalize()
        del marker
    small = Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.LANCZOS)
    return np.asarray(small)


@contextmanager
def quiet_vtk() -> Iterator[None]:
    """Keep VTK's messages about displays that are not there off the terminal, for as long as this lasts."""
    import vtk

    before = vtk.vtkLogger.GetCurrentVerbosityCutoff()
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    try:
        yield
    finally:
        vtk.vtkLogger.SetStderrVerbosity(before)


def _renderer() -> Any:
    import vtk

    renderer = vtk.vtkRenderer()
    renderer.GradientBackgroundOn()
    renderer.SetBackground(*_BACKGROUND[0])
    renderer.SetBackground2(*_BACKGROUND[1])
    renderer.SetUseDepthPeeling(1)
    renderer.SetMaximumNumberOfPeels(12)
    renderer.SetOcclusionRatio(0.0)
    kit = vtk.vtkLightKit()
    kit.SetKeyLightIntensity(0.95)
    kit.SetKeyToFillRatio(2.6)
    kit.AddLightsToRenderer(renderer)
    return renderer


def _actors(nodes: Sequence[Any]) -> list[Any]:
    """Return one actor a segment; those that enclose another one are translucent, so that it is seen."""
    surfaces = [surface for node in nodes for surface in _surfaces(node)]
    bounds = [np.array(surface.GetBounds()).reshape(3, 2) for surface, _, _ in surfaces]
    actors = []
    for index, (surface, colour, opacity) in enumerate(surfaces):
        own = bounds[index]
        encloses = any(
            (own[:, 0] <= other[:, 0]).all()
            and (own[:, 1] >= other[:, 1]).all()
            and np.ptp(other, axis=1).prod() < 0.5 * np.ptp(own, axis=1).prod()
            for position, other in enumerate(bounds)
            if position != index
        )
        actors.append(_actor(surface, colour, min(opacity, _SEE_THROUGH) if encloses else opacity))
    return actors


def _surfaces(node: Any) -> Iterator[tuple[Any, tuple[float, float, float], float]]:
    """Yield surface (in world RAS), colour and opacity of every visible segment that has voxels."""
    display = node.GetDisplayNode()
    segmentation = _segmentation_with_surfaces(node)
    for index in range(segmentation.GetNumberOfSegments()):
        identifier = segmentation.GetNthSegmentID(index)
        segment = segmentation.GetSegment(identifier)
        opacity = 1.0
        if display is not None:
            if not (display.GetSegmentVisibility(identifier) and display.GetSegmentVisibility3D(identifier)):
                continue
            opacity = display.GetSegmentOpacity3D(identifier) * display.GetOpacity3D()
        surface = segment.GetRepresentation("Closed surface")
        if surface is None or not surface.GetNumberOfPoints():
            continue
        yield _in_world(node, surface), tuple(segment.GetColor()), opacity


def _in_world(node: Any, surface: Any) -> Any:
    """Return polygons where the node's parent transforms move them."""
    import vtk

    if node.GetParentTransformNode() is None:
        return surface
    to_world = vtk.vtkGeneralTransform()
    node.GetParentTransformNode().GetTransformToWorld(to_world)
    moved = vtk.vtkTransformPolyDataFilter()
    moved.SetInputData(surface)
    moved.SetTransform(to_world)
    moved.Update()
    return moved.GetOutput()


def _model_actor(node: Any) -> Any:
    display = node.GetDisplayNode()
    actor = _actor(_in_world(node, node.GetPolyData()), tuple(display.GetColor()), float(display.GetOpacity()))
    actor.GetProperty().SetLineWidth(2.0 * _SMOOTH)
    return actor


def _ball(mark: Mark) -> Any:
    import vtk

    ball = vtk.vtkSphereSource()
    ball.SetCenter(*mark.point)
    ball.SetRadius(_BALL_MM)
    ball.SetThetaResolution(24)
    ball.SetPhiResolution(16)
    ball.Update()
    return _actor(ball.GetOutput(), mark.colour, 1.0)


def _tube(stroke: Stroke) -> Any:
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    points, lines = vtk.vtkPoints(), vtk.vtkCellArray()
    points.SetData(numpy_to_vtk(np.concatenate(stroke.lines), deep=True))
    begin = 0
    for line in stroke.lines:
        lines.InsertNextCell(len(line), range(begin, begin + len(line)))
        begin += len(line)
    data = vtk.vtkPolyData()
    data.SetPoints(points)
    data.SetLines(lines)
    tube = vtk.vtkTubeFilter()
    tube.SetInputData(data)
    tube.SetRadius(_TUBE_MM)
    tube.SetNumberOfSides(12)
    tube.CappingOn()
    tube.Update()
    return _actor(tube.GetOutput(), stroke.colour, 1.0)


def _segmentation_with_surfaces(node: Any) -> Any:
    import slicer

    segmentation = node.GetSegmentation()
    if segmentation.ContainsRepresentation("Closed surface"):
        return segmentation
    copy = slicer.vtkSegmentation()
    copy.DeepCopy(segmentation)
    register_converters()
    copy.CreateRepresentation("Closed surface")
    return copy


def _actor(surface: Any, colour: tuple[float, float, float], opacity: float) -> Any:
    import vtk

    normals = vtk.vtkPolyDataNormals()
    normals.SetInputData(surface)
    normals.SplittingOff()
    mapper = vtk.vtkPolyDataMapper()
    mapper.SetInputConnection(normals.GetOutputPort())
    mapper.ScalarVisibilityOff()
    actor = vtk.vtkActor()
    actor.SetMapper(mapper)
    look = actor.GetProperty()
    look.SetColor(*colour)
    look.SetOpacity(opacity)
    look.SetInterpolationToPhong()
    look.SetAmbient(0.12)
    look.SetDiffuse(0.88)
    look.SetSpecular(0.22)
    look.SetSpecularPower(28)
    return actor


def _aim(renderer: Any) -> None:
    camera = renderer.GetActiveCamera()
    camera.SetFocalPoint(0.0, 0.0, 0.0)
    camera.SetPosition(*_VIEW_FROM)
    camera.SetViewUp(0.0, 0.0, 1.0)
    camera.SetViewAngle(22)
    renderer.ResetCamera()
    _fill_view(renderer)
    for actor in renderer.GetActors():
        actor.SetUseBounds(True)  # nothing that is in view is cut off
    renderer.ResetCameraClippingRange()


def _fill_view(renderer: Any) -> None:
    """Centre what is seen and bring it near enough that it fills most of the view.

    VTK's own reset fits the sphere around the bounding box, which leaves half of the picture empty.
    """
    camera = renderer.GetActiveCamera()
    if not len(_cloud(renderer)):
        return
    for _ in range(3):
        seen = _projected(renderer)
        centre, half = (seen.max(axis=0) + seen.min(axis=0)) / 2, np.ptp(seen, axis=0) / 2
        # From -1..1 in the picture to mm at the focal point.
        half_height = camera.GetDistance() * np.tan(np.deg2rad(camera.GetViewAngle() / 2))
        up = np.array(camera.GetViewUp())
        ahead = np.array(camera.GetDirectionOfProjection())
        right = np.cross(ahead, up) / np.linalg.norm(np.cross(ahead, up))
        shift = half_height * (right * centre[0] * renderer.GetTiledAspectRatio() + np.cross(right, ahead) * centre[1])
        camera.SetFocalPoint(*(np.array(camera.GetFocalPoint()) + shift))
        camera.SetPosition(*(np.array(camera.GetPosition()) + shift))
        camera.Zoom(float(_FILLED / max(half.max(), 1e-6)))


def _cloud(renderer: Any) -> NDArray[np.float64]:
    """Return (n, 3) RAS mm: points of all surfaces, thinned out."""
    from vtk.util.numpy_support import vtk_to_numpy

    collection = renderer.GetActors()
    actors = [collection.GetItemAsObject(index) for index in range(collection.GetNumberOfItems())]
    aimed = [actor for actor in actors if actor.GetUseBounds()]
    clouds = [vtk_to_numpy(actor.GetMapper().GetInput().GetPoints().GetData()) for actor in aimed]
    thinned = [cloud[:: -(-len(cloud) // 4000)] for cloud in clouds]
    return np.concatenate(thinned).astype(float) if thinned else np.zeros((0, 3))


def _projected(renderer: Any) -> NDArray[np.float64]:
    """Return (n, 2): where those points are in the picture, from -1 to 1, upwards and to the right."""
    points = _cloud(renderer)
    matrix = renderer.GetActiveCamera().GetCompositeProjectionTransformMatrix(renderer.GetTiledAspectRatio(), -1, 1)
    project = np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)])
    seen = np.c_[points, np.ones(len(points))] @ project.T
    return seen[:, :2] / seen[:, 3:]


def _free_corner(renderer: Any, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the viewport of the picture's corner that has the least in it, the lower right one where all are free."""
    wide, high = (min(0.13 * min(size), 240.0) / length for length in size)
    gap_x, gap_y = (0.02 * min(size) / length for length in size)
    left, bottom = (1 - wide - gap_x, gap_x), (gap_y, 1 - high - gap_y)
    corners = [(x, y, x + wide, y + high) for y in bottom for x in left]
    seen = (_projected(renderer) + 1) / 2 if len(_cloud(renderer)) else np.zeros((0, 2))

    def crowd(corner: tuple[float, float, float, float]) -> int:
        return int(((seen >= corner[:2]) & (seen <= corner[2:])).all(axis=1).sum())

    return min(corners, key=crowd)


def _add_orientation_cube(window: Any, renderer: Any) -> Any:
    """Put a small cube with the patient's sides into the lower right corner."""
    import vtk

    cube = vtk.vtkAnnotatedCubeActor()
    cube.SetXPlusFaceText("R")
    cube.SetXMinusFaceText("L")
    cube.SetYPlusFaceText("A")
    cube.SetYMinusFaceText("P")
    cube.SetZPlusFaceText("S")
    cube.SetZMinusFaceText("I")
    cube.SetFaceTextScale(0.62)
    cube.SetZFaceTextRotation(90)
    cube.GetCubeProperty().SetColor(0.80, 0.82, 0.86)
    cube.GetTextEdgesProperty().SetColor(0.15, 0.17, 0.2)
    for face in ("XPlus", "XMinus", "YPlus", "YMinus", "ZPlus", "ZMinus"):
        getattr(cube, f"Get{face}FaceProperty")().SetColor(0.15, 0.17, 0.2)
    corner = vtk.vtkRenderer()
    corner.SetLayer(1)
    corner.InteractiveOff()
    corner.SetViewport(*_free_corner(renderer, window.GetSize()))
    corner.AddActor(cube)
    camera = corner.GetActiveCamera()
    camera.SetPosition(*(4.0 * part for part in renderer.GetActiveCamera().GetDirectionOfProjection()))
    position = [-1.0 * value for value in camera.GetPosition()]
    camera.SetPosition(*position)
    camera.SetFocalPoint(0.0, 0.0, 0.0)
    camera.SetViewUp(*renderer.GetActiveCamera().GetViewUp())
    corner.ResetCamera()
    camera.Zoom(1.2)
    window.SetNumberOfLayers(2)
    window.AddRenderer(corner)
    return cube
