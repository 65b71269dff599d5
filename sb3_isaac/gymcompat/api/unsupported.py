"""Isaac Gym's calls that are not emulated, and what to do instead.

The names are those that the MIT-licensed ``isaacgym-stubs`` list for ``Gym``.
"""

from __future__ import annotations

from typing import Optional

_ADVICE = (  # the first whose word is part of the name
    ("soft particle cloth tet pneumatic triangle", "soft bodies have no counterpart here"),
    ("viewer_camera", "set the viewer's camera with viewer_camera_look_at"),
    ("texture materials", "textures and materials have no counterpart here: give colours with set_rigid_body_color"),
    ("force_sensor get_sensor", "read force sensors with acquire_force_sensor_tensor"),
    ("dof_force", "read joint forces with acquire_dof_force_tensor"),
    ("usd omni opensim attach_sim load_sim", "other formats are not read or written here: use URDF or MJCF"),
    ("tendon", "this of a tendon is as the MJCF file says; get_actor_tendon_properties and set_actor_tendon_properties "
               "have stiffness, damping and limits"),
    ("body_force body_forces", "apply forces with apply_rigid_body_force_tensors, or at given places with "
                               "apply_rigid_body_force_at_pos_tensors"),
    ("dof_effort", "set efforts with set_dof_actuation_force_tensor"),
    ("target", "set targets with set_dof_position_target_tensor or set_dof_velocity_target_tensor"),
    ("dof_states dof_position dof_velocity joint_position joint_velocity",
     "read and write joints with the dof state tensor"),
    ("rigid contact_force", "read bodies and contacts with the rigid body state and net contact force tensors"),
    ("", "it has no counterpart here yet: please open an issue that says what needs it"),
)
_NAMES = frozenset("""
    acquire_dof_force_tensor acquire_force_sensor_tensor acquire_jacobian_tensor acquire_mass_matrix_tensor
    acquire_particle_state_tensor acquire_pneumatic_pressure_tensor acquire_pneumatic_target_tensor add_lines
    apply_actor_dof_efforts apply_body_force_at_pos apply_body_forces apply_dof_effort
    apply_rigid_body_force_at_pos_tensors attach_camera_to_body attach_sim clear_lines create_aggregate
    create_asset_force_sensor create_cloth_grid create_performance_timers
    create_rigid_body_attractor create_tet_grid create_texture_from_buffer create_texture_from_file
    create_usd_exporter create_viewer debug_print_asset destroy_camera_sensor destroy_env destroy_performance_timers
    destroy_usd_exporter destroy_viewer draw_env_rigid_contacts draw_env_soft_contacts draw_viewer
    enable_actor_dof_force_sensors end_access_image_tensors export_usd_asset export_usd_sim
    find_actor_actuator_index find_actor_fixed_tendon_joint_index find_actor_joint_handle find_actor_joint_index
    find_actor_tendon_index find_asset_actuator_index find_asset_joint_index find_asset_tendon_index free_texture
    get_actor_actuator_count get_actor_actuator_joint_name get_actor_actuator_name get_actor_actuator_properties
    get_actor_dof_forces get_actor_dof_frames get_actor_dof_position_targets get_actor_dof_states
    get_actor_dof_velocity_targets get_actor_fixed_tendon_joint_coefficients get_actor_fixed_tendon_joint_name
    get_actor_force_sensor get_actor_force_sensor_count get_actor_joint_count get_actor_joint_dict
    get_actor_joint_handle get_actor_joint_index get_actor_joint_names get_actor_joint_transforms
    get_actor_rigid_body_shape_indices get_actor_rigid_body_states get_actor_scale get_actor_soft_body_count
    get_actor_soft_materials get_actor_tendon_count get_actor_tendon_name get_actor_tendon_offset
    get_actor_tendon_properties get_actor_tetrahedra_range get_actor_triangle_range get_asset_actuator_joint_name
    get_asset_actuator_name get_asset_fixed_tendon_joint_coefficients get_asset_fixed_tendon_joint_name
    get_asset_joint_count get_asset_joint_dict get_asset_joint_name get_asset_joint_names get_asset_joint_type
    get_asset_soft_body_count get_asset_soft_materials get_asset_tendon_name get_asset_tendon_properties
    get_attractor_properties get_camera_image get_camera_image_gpu_tensor get_camera_proj_matrix
    get_camera_transform get_camera_view_matrix get_dof_frame get_dof_position get_dof_target_position
    get_dof_target_velocity get_dof_type_string get_dof_velocity get_env_joint_count get_env_rigid_body_states
    get_env_rigid_contact_forces get_env_rigid_contacts get_joint_handle get_joint_name get_joint_position
    get_joint_target_position get_joint_target_velocity get_joint_transform get_joint_type_string get_joint_velocity
    get_performance_timers get_pneumatic_pressure get_pneumatic_target get_rigid_angular_velocity
    get_rigid_body_color get_rigid_body_segmentation_id get_rigid_body_texture get_rigid_contact_forces
    get_rigid_contacts get_rigid_handle get_rigid_linear_velocity get_rigid_name get_rigid_transform get_sensor
    get_sim_force_sensor_count get_sim_joint_count get_sim_rigid_body_states get_sim_tetrahedra
    get_sim_tetrahedra_count get_sim_triangle_count get_sim_triangles get_soft_contacts get_usd_export_root
    get_vec_actor_dof_states get_vec_env_rigid_contact_forces get_vec_rigid_angular_velocity
    get_vec_rigid_linear_velocity get_vec_rigid_transform get_viewer_camera_handle get_viewer_camera_transform
    get_viewer_mouse_position get_viewer_size load_opensim load_sim load_usd omni_connect omni_disconnect
    poll_viewer_events query_viewer_action_events query_viewer_has_closed refresh_dof_force_tensor
    refresh_force_sensor_tensor refresh_jacobian_tensors refresh_mass_matrix_tensors refresh_particle_state_tensor
    refresh_pneumatic_pressure_tensor refresh_pneumatic_target_tensor render_all_camera_sensors
    reset_actor_materials reset_actor_particles_to_rest set_actor_dof_position_targets set_actor_dof_states
    set_actor_dof_velocity_targets set_actor_fixed_tendon_joint_coefficients set_actor_rigid_body_states
    set_actor_scale set_actor_soft_materials set_actor_tendon_offset set_actor_tendon_properties
    set_asset_fixed_tendon_joint_coefficients set_asset_tendon_properties set_attractor_properties
    set_attractor_target set_camera_location set_camera_transform set_dof_target_position set_dof_target_velocity
    set_env_rigid_body_states set_joint_target_position set_joint_target_velocity set_light_parameters
    set_particle_state_tensor set_particle_state_tensor_indexed set_pneumatic_pressure set_pneumatic_pressure_tensor
    set_pneumatic_pressure_tensor_indexed set_pneumatic_target set_pneumatic_target_tensor
    set_pneumatic_target_tensor_indexed set_rigid_angular_velocity set_rigid_body_segmentation_id
    set_rigid_body_state_tensor set_rigid_body_texture set_rigid_linear_velocity set_rigid_transform set_sim_device
    set_sim_rigid_body_states set_usd_export_root start_access_image_tensors step_graphics
    subscribe_viewer_keyboard_event subscribe_viewer_mouse_event sync_frame_time viewer_camera_look_at
    write_camera_image_to_file
""".split())


def advice(name: str) -> Optional[str]:
    """What to do instead of the call `name`; None if Isaac Gym has no such call."""
    if name not in _NAMES:
        return None
    return next(text for words, text in _ADVICE if not words or any(word in name for word in words.split()))


_MODULE_NAMES = frozenset("""
    DofFrame ForceSensor Int2 Int3 OmniConnectionParams ParticleState PerformanceTimers RigidContact SoftContact
    SoftMaterial SoftMaterialType MAT_COROTATIONAL MAT_NEOHOOKEAN SpatialForce TendonProperties UsdExportOptions
    UsdExporter UsdMaterialMode USD_MATERIAL_DISPLAY_COLOR
    USD_MATERIAL_MDL USD_MATERIAL_PREVIEW_SURFACE carb_init cross dot eulers_to_quats_zyx
    quats_to_eulers_zyx rotate rotate_inverse transform transform_inverse
""".split())


class NotEmulated(NotImplementedError, AttributeError):
    """A name of ``gymapi`` that the emulation lacks. As an AttributeError it answers ``hasattr``."""


def not_emulated(name: str) -> AttributeError:
    """What looking up the absent `name` in ``gymapi`` raises."""
    if name in _MODULE_NAMES:
        return NotEmulated(f"gymapi.{name} is not emulated: it belongs to parts of Isaac Gym that have no counterpart "
                           "here yet; please open an issue that says what needs it.")
    return AttributeError(f"isaacgym.gymapi has no attribute {name!r}.")
