//! What a change of a user means: who may make it, and whose tokens end with it. Pure.

use platform::ctx::Permissions;

use crate::words::{Role, SessionEnd, UserStatus};

/// A user as far as rights go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub role: Role,
    pub status: UserStatus,
    pub archived: bool,
}

impl Standing {
    /// An owner who can act: an organization always has one.
    pub fn is_acting_owner(self) -> bool {
        self.role == Role::Owner && self.status == UserStatus::Active && !self.archived
    }
}

/// Who makes the change. A key has permissions and no role.
#[derive(Clone, Debug)]
pub struct Caller {
    pub role: Option<Role>,
    pub permissions: Permissions,
}

/// What is about to happen; `before` is `None` for a new user.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub before: Option<Standing>,
    pub after: Standing,
    /// A password is given or taken away.
    pub password: bool,
}

impl Change {
    fn touches_rights(self) -> bool {
        self.password || self.before != Some(self.after)
    }
}

/// Why a change is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Only an owner gives or takes the role owner, or an owner's password and status.
    OwnerRequired,
    /// The caller would hand out, or be able to sign in with, more than it holds.
    RoleExceedsCaller,
    /// Nobody would be left who can act as an owner.
    LastOwner,
}

/// Decides about `change`; `other_owners` is how many acting owners there are besides this user,
/// `role_permissions` what a role may do.
///
/// # Errors
/// The first reason against it.
pub fn check(
    caller: &Caller,
    change: Change,
    other_owners: usize,
    role_permissions: impl Fn(Role) -> Permissions,
) -> Result<(), Refusal> {
    if !change.touches_rights() {
        return Ok(());
    }
    let before = change.before.map(|standing| standing.role);
    let about_owner = before == Some(Role::Owner) || change.after.role == Role::Owner;
    if about_owner && caller.role != Some(Role::Owner) {
        return Err(Refusal::OwnerRequired);
    }
    let hands_out = change.password || before != Some(change.after.role);
    let given = role_permissions(change.after.role);
    if hands_out && !given.iter().all(|name| caller.permissions.contains(name)) {
        return Err(Refusal::RoleExceedsCaller);
    }
    let was_acting = change.before.is_some_and(Standing::is_acting_owner);
    if was_acting && !change.after.is_acting_owner() && other_owners == 0 {
        return Err(Refusal::LastOwner);
    }
    Ok(())
}

/// What a change ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Access tokens issued so far are refused.
    pub tokens: bool,
    /// Sessions end too: their refresh tokens are refused.
    pub sessions: Option<SessionEnd>,
    /// Tokens of the user's API keys are refused: an exchange gives what the user may do from now on.
    pub keys: bool,
}

/// A new role needs new tokens; a new password, a disabled or an archived account end the sessions.
/// Keys do not hang on the password.
pub fn ending(change: Change) -> Ending {
    let Some(before) = change.before else { return Ending { tokens: false, sessions: None, keys: false } };
    let after = change.after;
    let sessions = if after.archived && !before.archived {
        Some(SessionEnd::Archived)
    } else if after.status == UserStatus::Disabled && before.status == UserStatus::Active {
        Some(SessionEnd::Disabled)
    } else if change.password {
        Some(SessionEnd::Password)
    } else {
        None
    };
    let tokens = sessions.is_some() || after.role != before.role;
    Ending { tokens, sessions, keys: tokens && after != before }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn permissions(role: Role) -> Permissions {
        let names: &[&str] = match role {
            Role::Owner | Role::Admin => &["profile", "users_write", "incidents_respond"],
            Role::Responder => &["profile", "incidents_respond"],
            Role::Viewer => &["profile"],
        };
        names.iter().copied().collect()
    }

    fn user(role: Role) -> Caller {
        Caller { role: Some(role), permissions: permissions(role) }
    }

    fn key(scopes: &[&str]) -> Caller {
        Caller { role: None, permissions: scopes.iter().copied().collect() }
    }

    fn standing(role: Role) -> Standing {
        Standing { role, status: UserStatus::Active, archived: false }
    }

    fn role_change(before: Role, after: Role) -> Change {
        Change { before: Some(standing(before)), after: standing(after), password: false }
    }

    #[test]
    fn who_may_change_whom() {
        use Refusal::{LastOwner, OwnerRequired, RoleExceedsCaller};
        use Role::{Admin, Owner, Responder, Viewer};
        let disabled = Standing { status: UserStatus::Disabled, ..standing(Owner) };
        let disable_owner = Change { before: Some(standing(Owner)), after: disabled, password: false };
        let new = |role| Change { before: None, after: standing(role), password: true };
        let own_password = Change { password: true, ..role_change(Owner, Owner) };
        let rows = [
            (user(Owner), role_change(Viewer, Owner), 0, Ok(())),
            (user(Owner), role_change(Owner, Admin), 1, Ok(())),
            (user(Owner), role_change(Owner, Admin), 0, Err(LastOwner)),
            (user(Owner), disable_owner, 0, Err(LastOwner)),
            (user(Owner), own_password, 0, Ok(())),
            (user(Admin), disable_owner, 5, Err(OwnerRequired)),
            (user(Admin), role_change(Viewer, Admin), 0, Ok(())),
            (user(Admin), role_change(Admin, Owner), 1, Err(OwnerRequired)),
            (user(Admin), role_change(Owner, Viewer), 1, Err(OwnerRequired)),
            (user(Admin), own_password, 1, Err(OwnerRequired)),
            (user(Admin), role_change(Owner, Owner), 0, Ok(())),
            (user(Admin), new(Owner), 1, Err(OwnerRequired)),
            (user(Admin), new(Admin), 1, Ok(())),
            (key(&["users_write"]), new(Viewer), 1, Err(RoleExceedsCaller)),
            (key(&["users_write", "profile"]), new(Viewer), 1, Ok(())),
            (key(&["users_write", "profile"]), new(Responder), 1, Err(RoleExceedsCaller)),
            (key(&["users_write"]), role_change(Viewer, Viewer), 1, Ok(())),
        ];
        for (caller, change, others, expected) in rows {
            let decided = check(&caller, change, others, permissions);
            assert_eq!(decided, expected, "{caller:?} {change:?}");
        }
    }

    fn any_standing() -> impl Strategy<Value = Standing> {
        let role = prop::sample::select(Role::ALL);
        let status = prop::sample::select(UserStatus::ALL);
        (role, status, any::<bool>()).prop_map(|(role, status, archived)| Standing { role, status, archived })
    }

    proptest! {
        #[test]
        fn an_organization_keeps_an_acting_owner(
            before in any_standing(), after in any_standing(), password: bool, others in 0_usize..3,
            role in prop::sample::select(Role::ALL),
        ) {
            let change = Change { before: Some(before), after, password };
            if check(&user(role), change, others, permissions).is_ok() && before.is_acting_owner() {
                prop_assert!(others > 0 || after.is_acting_owner());
            }
        }

        #[test]
        fn nobody_but_an_owner_makes_or_unmakes_one(
            before in any_standing(), after in any_standing(), password: bool,
        ) {
            let change = Change { before: Some(before), after, password };
            let decided = check(&user(Role::Admin), change, 1, permissions);
            if (before.role == Role::Owner) != (after.role == Role::Owner) {
                prop_assert_eq!(decided, Err(Refusal::OwnerRequired));
            }
        }

        #[test]
        fn whoever_loses_rights_loses_tokens(
            before in any_standing(), after in any_standing(), password: bool,
        ) {
            let ending = ending(Change { before: Some(before), after, password });
            let lost = after.role != before.role || (after.archived && !before.archived)
                || (after.status == UserStatus::Disabled && before.status == UserStatus::Active);
            prop_assert!(!lost || (ending.tokens && ending.keys));
            prop_assert!(!ending.keys || before != after, "a password alone ends no key");
            prop_assert!(ending.sessions.is_none() || ending.tokens);
        }
    }
}
