//! What a device lives through while flash goes wrong, and who is who.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tinyops_wire::capsule::Unverified;

use tinyops_device::Config;
use tinyops_wire::downlink::When;
use tinyops_wire::frame::Reason;
use tinyops_wire::{Digest, ModelId};

use super::schedule::FAULTS_MAX;
use crate::delta::delta;
use crate::fixture::{DIRECTOR, RELEASE, Recipe, STRANGER, config, signed, stated};

/// A capsule's part in the stories.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Role {
    /// Came with the firmware.
    Factory,
    /// Has been confirmed.
    Old,
    /// Sound, and newer.
    New,
    /// Sound, and newer than all: shows that a device can still be updated.
    Rescue,
    /// Signed, and older than what runs.
    Older,
    /// Signed by a stranger.
    Stranger,
    /// Signed, and does not compute what it says.
    Wrong,
    /// Signed, and its golden vectors take longer than the watchdog waits.
    Endless,
    /// Not a capsule: what makes `New` out of `Old`.
    Delta,
}

impl Role {
    const ALL: [Role; 8] = [
        Role::Factory,
        Role::Old,
        Role::New,
        Role::Rescue,
        Role::Older,
        Role::Stranger,
        Role::Wrong,
        Role::Endless,
    ];

    fn recipe(self) -> Recipe {
        let (sequence, turn, ballast) = match self {
            Role::Factory => (1, 0, 0),
            Role::Old => (2, 1, 64),
            Role::New => (3, 2, 128),
            Role::Rescue => (4, 0, 32),
            Role::Older => (2, 0, 96),
            Role::Stranger => (3, 0, 16),
            Role::Wrong => (3, 0, 48),
            Role::Endless => (3, 0, 80),
            Role::Delta => unreachable!("it is no capsule"),
        };
        Recipe {
            turn,
            ballast,
            signer: if self == Role::Stranger {
                STRANGER
            } else {
                RELEASE
            },
            golden_output: (self == Role::Wrong).then_some([0, 128, 129]),
            ..Recipe::numbered(sequence)
        }
    }
}

struct Member {
    role: Role,
    capsule: Vec<u8>,
    digest: Digest,
    model: ModelId,
    class: u8,
}

/// A signed statement.
pub(crate) type Statement = Arc<[u8]>;

/// All capsules that there are.
pub(crate) struct Cast {
    /// The device's; every one of the faults can cost a try, so it has one more.
    pub(crate) config: Config,
    members: Vec<Member>,
    /// What the director has signed, so that it need not sign it for every schedule anew.
    statements: Mutex<HashMap<(Role, u32), Statement>>,
}

impl Cast {
    pub(crate) fn new() -> Cast {
        let mut members = Vec::from(Role::ALL.map(|role| {
            let recipe = role.recipe();
            let capsule = recipe.capsule();
            Member {
                role,
                digest: Digest::of(&capsule),
                model: Unverified::parse(&capsule).expect("a capsule").model(),
                // Feature 1 is the greatest of every window.
                class: ((4 - recipe.turn) % 3) as u8,
                capsule,
            }
        }));
        let capsule = |role| {
            let found = members.iter().find(|member: &&Member| member.role == role);
            &found.expect("all are there").capsule
        };
        let package = delta(capsule(Role::Old), capsule(Role::New));
        members.push(Member {
            role: Role::Delta,
            digest: Digest::of(&package),
            model: ModelId(0),
            class: 0,
            capsule: package,
        });
        let config = Config {
            tries: 1 + FAULTS_MAX as u8,
            ..config()
        };
        Cast {
            config,
            members,
            statements: Mutex::default(),
        }
    }

    fn member(&self, role: Role) -> &Member {
        let found = self.members.iter().find(|member| member.role == role);
        found.expect("all are there")
    }

    /// The signed statement of this number that the device shall run a capsule.
    pub(crate) fn statement(&self, role: Role, counter: u32) -> Statement {
        let mut statements = self.statements.lock().expect("nobody panics with it");
        let sign = || signed(&stated(self.capsule(role), counter), DIRECTOR).into();
        Arc::clone(statements.entry((role, counter)).or_insert_with(sign))
    }

    /// Room that the longest capsule needs, and after its last page a delta.
    pub(crate) fn slot_bytes(&self, page_bytes: usize) -> usize {
        let longest = self.members.iter().map(|member| member.capsule.len()).max();
        let capsule_bytes = longest.unwrap_or(0).next_multiple_of(page_bytes);
        capsule_bytes + self.capsule(Role::Delta).len()
    }

    pub(crate) fn capsule(&self, role: Role) -> &[u8] {
        &self.member(role).capsule
    }

    pub(crate) fn digest(&self, role: Role) -> &Digest {
        &self.member(role).digest
    }

    pub(crate) fn model(&self, role: Role) -> ModelId {
        self.member(role).model
    }

    /// The class that it makes of the windows of the stories.
    pub(crate) fn class(&self, role: Role) -> u8 {
        self.member(role).class
    }

    pub(crate) fn role_of(&self, digest: &Digest) -> Option<Role> {
        let found = self.members.iter().find(|member| member.digest == *digest);
        found.map(|member| member.role)
    }

    pub(crate) fn role_of_model(&self, model: ModelId) -> Option<Role> {
        let found = self.members.iter().find(|member| member.model == model);
        found.map(|member| member.role)
    }

    /// Whether a device may ever run it.
    pub(crate) fn may_run(&self, role: Role) -> bool {
        !matches!(
            role,
            Role::Older | Role::Stranger | Role::Wrong | Role::Endless
        )
    }
}

/// How a story ends if all goes well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The capsule runs.
    Runs,
    /// It is turned away for this reason, for good.
    Refused(Reason),
    /// It ran, and is sent away on command, for good.
    Commanded,
}

/// What a device lives through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Story {
    pub(crate) name: &'static str,
    pub(crate) factory: Option<Role>,
    /// What has been installed before the story begins.
    pub(crate) past: &'static [Role],
    pub(crate) desired: Role,
    pub(crate) ending: Ending,
    /// Whether it is offered as a delta, as long as the device can take one.
    pub(crate) as_delta: bool,
    /// Whether it is to be fetched first and installed later, with resets in between, and scores windows meanwhile.
    pub(crate) when: When,
    /// Without one no window is ever full, and a watchdog resets the device.
    pub(crate) has_sensor: bool,
}

const UPDATE: Story = Story {
    name: "update",
    factory: Some(Role::Factory),
    past: &[Role::Old],
    desired: Role::New,
    ending: Ending::Runs,
    as_delta: false,
    when: When::AtOnce,
    has_sensor: true,
};

/// More windows than a boot of the stories has, so that they are begun anew.
const SHADOW: When = When::Shadow { windows: 3 };

/// Every story.
pub(crate) const STORIES: [Story; 13] = [
    UPDATE,
    Story {
        name: "delta",
        as_delta: true,
        ..UPDATE
    },
    Story {
        name: "install-later",
        when: When::Later,
        ..UPDATE
    },
    Story {
        name: "install-later-delta",
        when: When::Later,
        as_delta: true,
        ..UPDATE
    },
    Story {
        name: "shadow",
        when: SHADOW,
        ..UPDATE
    },
    Story {
        name: "silent-shadow",
        when: SHADOW,
        ending: Ending::Refused(Reason::Tries),
        has_sensor: false,
        ..UPDATE
    },
    Story {
        name: "first-update",
        past: &[],
        ..UPDATE
    },
    Story {
        name: "no-factory",
        factory: None,
        ..UPDATE
    },
    Story {
        name: "wrong-golden-vector",
        desired: Role::Wrong,
        ending: Ending::Refused(Reason::Golden),
        ..UPDATE
    },
    Story {
        name: "stranger",
        desired: Role::Stranger,
        ending: Ending::Refused(Reason::Signature),
        ..UPDATE
    },
    Story {
        name: "silent-trial",
        ending: Ending::Refused(Reason::Tries),
        has_sensor: false,
        ..UPDATE
    },
    Story {
        name: "endless-check",
        desired: Role::Endless,
        ending: Ending::Refused(Reason::Tries),
        ..UPDATE
    },
    Story {
        name: "revert",
        past: &[Role::Old, Role::New],
        ending: Ending::Commanded,
        ..UPDATE
    },
];
