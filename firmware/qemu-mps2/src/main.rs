#![no_std]
#![no_main]
use cortex_m_rt::entry;
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! { loop {} }
#[entry]
fn main() -> ! { 
 for b in b"hello\n" { unsafe { core::ptr::write_volatile(0x4000_4000 as *mut u32, u32::from(*b)); } }
 unsafe { let p:[u32;2]=[0x20026,0]; core::arch::asm!("bkpt 0xab", in("r0") 0x18u32, in("r1") 0x20026u32); let _=p; }
 loop {} }
